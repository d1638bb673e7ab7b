/* All that Python calls: build.py gives this to cffi, without the directives of the preprocessor. */

#pragma once

#include <stdint.h>

/* Tag maps (B, L, J, h, w), and where in them the joints of B x P people are. */
typedef struct {
    int64_t images, dimensions, joints, height, width, people;
    int64_t strides[5];      /* of the maps, in elements */
    int is_double;           /* the maps are float64, else float32 */
    const int64_t *cells;    /* (B, P, J, 2): x, y; read where labelled */
    const uint8_t *labelled; /* (B, P, J) */
} ae_batch;

/* Both return 0, AE_OUTSIDE if a labelled cell is outside of its map, AE_NO_MEMORY. */
enum { AE_OUTSIDE = 1, AE_NO_MEMORY = 2 };

/* The loss of each image, pull (B,) and push (B,), and what a change of a joint's tag changes in them:
   slopes (B, P, J, L, 2), 0 without a label. */
int ae_loss(const ae_batch *batch, const void *tags, double *pull, double *push, double *slopes);

/* Add to the maps of a gradient, at the joints, the slopes weighted for each image: (B,) of pull and push. */
int ae_gradient(const ae_batch *batch, void *gradient, const double *pull_weight, const double *push_weight,
                const double *slopes);

/* The maps of one picture: heatmaps (J, h, w) and tags (L, J, h, w), without gaps. */
typedef struct {
    int64_t dimensions, joints, height, width;
    const float *heatmaps, *tags;
} ae_maps;

/* How people are put together: src/evaluation/grouping.py says what the values mean. */
typedef struct {
    const int64_t *order; /* (J,) of joints */
    int64_t people;       /* P at most */
    int64_t reach;        /* cells on each side of a peak's window */
    float threshold;
    double tag_threshold;
    int refine;
    double rounded, nearer;
} ae_rules;

/* Find the people: points (P, J, 2), scores (P, J), people's scores (P,), which are written for those found.
   Returns how many these are, or -AE_NO_MEMORY. */
int64_t ae_group(const ae_maps *maps, const ae_rules *rules, float *points, float *scores,
                 float *person_scores);
