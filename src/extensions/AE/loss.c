/* The loss of associative embedding (Newell, Huang and Deng, NIPS 2017, in the form of their code): the tags
   of a person shall be near their mean, the means of two people far from one another.

   Maps are read and written in place, at the joints only. Arithmetic is in double: it is that of a few
   hundred numbers an image, and nothing is lost beside tags that are large and alike. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "declarations.h"

/* What is known of the people of one image. */
typedef struct {
    int64_t *count; /* (P,) labelled joints */
    double *mean;   /* (P, L) tags */
    double *force;  /* (P, L): what a change of a mean changes in the sum over pairs */
} ae_people;

/* Where the first tag of a joint is in its maps, in elements; -1 if its cell is outside. */
static int64_t offset_of(const ae_batch *batch, int64_t image, int64_t person, int64_t joint)
{
    const int64_t *cell = batch->cells + 2 * ((image * batch->people + person) * batch->joints + joint);
    const int64_t *strides = batch->strides;
    if (cell[0] < 0 || cell[0] >= batch->width || cell[1] < 0 || cell[1] >= batch->height)
        return -1;
    return image * strides[0] + joint * strides[2] + cell[1] * strides[3] + cell[0] * strides[4];
}

static int is_labelled(const ae_batch *batch, int64_t image, int64_t person, int64_t joint)
{
    return batch->labelled[(image * batch->people + person) * batch->joints + joint];
}

/* The slopes (L, 2) of a joint, in those of its image. */
static int64_t slopes_of(const ae_batch *batch, int64_t person, int64_t joint)
{
    return 2 * batch->dimensions * (person * batch->joints + joint);
}

/* Count the joints of a person and average their tags, which are left where pull's slopes will be; there are
   zeros for joints without a label. */
static int read_person(const ae_batch *batch, int64_t image, int64_t person, const void *tags,
                       ae_people *people, double *slopes)
{
    int64_t size = batch->dimensions, count = 0;
    double *mean = people->mean + person * size;
    for (int64_t l = 0; l < size; l++)
        mean[l] = 0;
    for (int64_t joint = 0; joint < batch->joints; joint++) {
        double *slope = slopes + slopes_of(batch, person, joint);
        if (!is_labelled(batch, image, person, joint)) {
            memset(slope, 0, (size_t)(2 * size) * sizeof(double));
            continue;
        }
        int64_t at = offset_of(batch, image, person, joint);
        if (at < 0)
            return AE_OUTSIDE;
        for (int64_t l = 0; l < size; l++, at += batch->strides[1]) {
            slope[2 * l] = batch->is_double ? ((const double *)tags)[at] : ((const float *)tags)[at];
            mean[l] += slope[2 * l];
        }
        count++;
    }
    for (int64_t l = 0; l < size && count; l++)
        mean[l] /= count;
    people->count[person] = count;
    return 0;
}

/* The sum over pairs of exp(-distance^2), and the forces. */
static double push_apart(int64_t slots, int64_t size, ae_people *people)
{
    double sum = 0;
    for (int64_t i = 0; i < slots * size; i++)
        people->force[i] = 0;
    for (int64_t first = 0; first < slots; first++) {
        if (!people->count[first])
            continue;
        const double *a = people->mean + first * size;
        for (int64_t second = first + 1; second < slots; second++) {
            if (!people->count[second])
                continue;
            const double *b = people->mean + second * size;
            double square = 0;
            for (int64_t l = 0; l < size; l++)
                square += (a[l] - b[l]) * (a[l] - b[l]);
            double near = exp(-square);
            sum += near;
            for (int64_t l = 0; l < size; l++) {
                double change = 2 * (a[l] - b[l]) * near;
                people->force[first * size + l] -= change;
                people->force[second * size + l] += change;
            }
        }
    }
    return sum;
}

/* Ask for all tags of an image at once: each is a wait for memory of its own otherwise. */
static void prefetch(const ae_batch *batch, int64_t image, const char *tags)
{
#ifdef __GNUC__
    int64_t bytes = batch->is_double ? sizeof(double) : sizeof(float);
    for (int64_t person = 0; person < batch->people; person++)
        for (int64_t joint = 0; joint < batch->joints; joint++) {
            if (!is_labelled(batch, image, person, joint))
                continue;
            int64_t at = offset_of(batch, image, person, joint);
            if (at >= 0)
                __builtin_prefetch(tags + at * bytes);
        }
#endif
}

static int loss_of_image(const ae_batch *batch, int64_t image, const void *tags, ae_people *people,
                         double *pull, double *push, double *slopes)
{
    int64_t slots = batch->people, size = batch->dimensions, present = 0;
    prefetch(batch, image, tags);
    for (int64_t person = 0; person < slots; person++) {
        int status = read_person(batch, image, person, tags, people, slopes);
        if (status)
            return status;
        present += people->count[person] > 0;
    }
    /* half of the mean over pairs, of which there are present (present - 1) / 2 */
    double share = present > 1 ? 1.0 / (present * (present - 1)) : 0;
    *push = share * push_apart(slots, size, people);
    *pull = 0;
    for (int64_t person = 0; person < slots; person++) {
        int64_t count = people->count[person];
        double weight = 1.0 / (count ? count * size * present : 1);
        for (int64_t joint = 0; joint < batch->joints; joint++) {
            if (!is_labelled(batch, image, person, joint))
                continue;
            double *slope = slopes + slopes_of(batch, person, joint);
            for (int64_t l = 0; l < size; l++) {
                double residual = slope[2 * l] - people->mean[person * size + l];
                *pull += weight * residual * residual;
                slope[2 * l] = 2 * weight * residual; /* the mean's own change adds up to zero */
                slope[2 * l + 1] = share * people->force[person * size + l] / count;
            }
        }
    }
    return 0;
}

int ae_loss(const ae_batch *batch, const void *tags, double *pull, double *push, double *slopes)
{
    size_t slots = batch->people + 1, size = batch->dimensions; /* one more: none is no special case */
    int64_t step = slopes_of(batch, batch->people, 0);
    ae_people people = {
        malloc(slots * sizeof(int64_t)),
        malloc(slots * size * sizeof(double)),
        malloc(slots * size * sizeof(double)),
    };
    int status = people.count && people.mean && people.force ? 0 : AE_NO_MEMORY;
    for (int64_t image = 0; image < batch->images && !status; image++)
        status = loss_of_image(batch, image, tags, &people, pull + image, push + image, slopes + image * step);
    free(people.count);
    free(people.mean);
    free(people.force);
    return status;
}

int ae_gradient(const ae_batch *batch, void *gradient, const double *pull_weight, const double *push_weight,
                const double *slopes)
{
    for (int64_t image = 0; image < batch->images; image++)
        for (int64_t person = 0; person < batch->people; person++)
            for (int64_t joint = 0; joint < batch->joints; joint++) {
                const double *slope = slopes + slopes_of(batch, image * batch->people + person, joint);
                if (!is_labelled(batch, image, person, joint))
                    continue;
                int64_t at = offset_of(batch, image, person, joint);
                if (at < 0)
                    return AE_OUTSIDE;
                for (int64_t l = 0; l < batch->dimensions; l++, at += batch->strides[1]) {
                    double value = pull_weight[image] * slope[2 * l] + push_weight[image] * slope[2 * l + 1];
                    if (batch->is_double)
                        ((double *)gradient)[at] += value;
                    else
                        ((float *)gradient)[at] += (float)value;
                }
            }
    return 0;
}
