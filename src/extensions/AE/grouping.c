/* From heatmaps and tags to people: the decoder of associative embedding. src/evaluation/grouping.py has its
   rules, and the same in NumPy. Both give the same numbers, so the order of additions is one of the rules,
   and products are not to be fused with sums.

   Most cells are of no interest. Maps are divided into square tiles, few of which a joint's Gaussian touches.
   One pass over the heatmaps finds the largest height in each tile, and one over the tags of a joint that
   somebody lacks their range; after these only the tiles are visited in which something can be found. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "declarations.h"

enum { SIDE = 8, TILE = SIDE * SIDE }; /* cells: few enough to leave most out, enough for vectors */

/* Working memory for one picture: P people, as many peaks of a joint, J joints, L tag dimensions. */
typedef struct {
    int64_t across, tiles;     /* in a row of tiles, and in all */
    float *highest;            /* (J, tiles) the largest height in each tile */
    float *low_tag, *high_tag; /* (L, tiles) the range of the tags of the joint at hand */
    float *bound;              /* (tiles,) what no cell exceeds in likeliness for the person at hand */
    float *low, *high;         /* (across * SIDE,) the range of each column in a row of tiles */

    int64_t peaks;       /* k of the joint at hand, the highest first */
    int64_t *peak_cell;  /* (P + 1,) */
    double *peak_height; /* (P + 1,) */
    int64_t *goes_to;    /* (P,) the person, or -1 */

    int64_t people;     /* n found so far */
    int64_t *cell;      /* (P, J) of their joints, -1 for none */
    double *tag_total;  /* (P, L) */
    double *tag;        /* (P, L) the mean */
    int64_t *tag_count; /* (P,) */

    double *distance, *cost; /* (k, n) */

    /* of the assignment, (P,) */
    double *row_price, *column_price, *path_cost;
    int64_t *row_of, *column_of, *reached_from, *ahead, *row_passed, *column_passed;
} ae_desk;

static int64_t cells_of(const ae_maps *maps)
{
    return maps->height * maps->width;
}

static int64_t at_most(int64_t value, int64_t most)
{
    return value < most ? value : most;
}

/* The first cell of a tile. */
static int64_t corner_of(const ae_maps *maps, const ae_desk *desk, int64_t tile)
{
    return (tile / desk->across * maps->width + tile % desk->across) * SIDE;
}

/* The tags of a joint in one dimension, (h, w). */
static const float *tags_of(const ae_maps *maps, int64_t dimension, int64_t joint)
{
    return maps->tags + (dimension * maps->joints + joint) * cells_of(maps);
}

/* Widen the ranges of columns by a row; what is no number does not count. */
static void widen(const float *restrict row, int64_t size, float *restrict low, float *restrict high)
{
    for (int64_t x = 0; x < size; x++) {
        low[x] = row[x] < low[x] ? row[x] : low[x];
        high[x] = row[x] > high[x] ? row[x] : high[x];
    }
}

/* The range of a map's values in each tile, infinite the wrong way round without any. */
static void range(const ae_maps *maps, const ae_desk *desk, const float *values, float *low, float *high)
{
    for (int64_t top = 0; top < maps->height; top += SIDE, low += desk->across, high += desk->across) {
        for (int64_t x = 0; x < desk->across * SIDE; x++) {
            desk->low[x] = INFINITY;
            desk->high[x] = -INFINITY;
        }
        for (int64_t y = top; y < at_most(top + SIDE, maps->height); y++)
            widen(values + y * maps->width, maps->width, desk->low, desk->high);
        for (int64_t tile = 0; tile < desk->across; tile++) {
            const float *lows = desk->low + tile * SIDE, *highs = desk->high + tile * SIDE;
            float least = lows[0], most = highs[0];
            for (int i = 1; i < SIDE; i++) {
                least = lows[i] < least ? lows[i] : least;
                most = highs[i] > most ? highs[i] : most;
            }
            low[tile] = least;
            high[tile] = most;
        }
    }
}

/* Whether no cell within reach exceeds this one. The next ones rule out most. */
static int is_peak(const ae_maps *maps, const float *heights, int64_t cell, int64_t reach)
{
    int64_t x = cell % maps->width, y = cell / maps->width;
    int64_t left = x > reach ? x - reach : 0, top = y > reach ? y - reach : 0;
    int64_t right = x + reach < maps->width ? x + reach : maps->width - 1;
    int64_t bottom = y + reach < maps->height ? y + reach : maps->height - 1;
    if ((x < right && heights[cell + 1] > heights[cell]) ||
        (y < bottom && heights[cell + maps->width] > heights[cell]))
        return 0;
    for (int64_t row = top; row <= bottom; row++)
        for (int64_t column = left; column <= right; column++)
            if (!(heights[cell] >= heights[row * maps->width + column]))
                return 0;
    return 1;
}

static int is_finite(const ae_maps *maps, int64_t joint, int64_t cell)
{
    if (!isfinite(maps->heatmaps[joint * cells_of(maps) + cell]))
        return 0;
    for (int64_t l = 0; l < maps->dimensions; l++)
        if (!isfinite(tags_of(maps, l, joint)[cell]))
            return 0;
    return 1;
}

/* Put a peak where it belongs: the highest first, of equals the one read first. The last of too many falls
   off. */
static void keep_peak(ae_desk *desk, int64_t most, int64_t cell, double height)
{
    int64_t place = desk->peaks;
    for (; place > 0; place--) {
        double before = desk->peak_height[place - 1];
        if (before > height || (before == height && desk->peak_cell[place - 1] < cell))
            break;
        desk->peak_height[place] = desk->peak_height[place - 1];
        desk->peak_cell[place] = desk->peak_cell[place - 1];
    }
    desk->peak_height[place] = height;
    desk->peak_cell[place] = cell;
    if (desk->peaks < most)
        desk->peaks++;
}

static void find_peaks(const ae_maps *maps, const ae_rules *rules, int64_t joint, ae_desk *desk)
{
    const float *heights = maps->heatmaps + joint * cells_of(maps);
    desk->peaks = 0;
    for (int64_t tile = 0; tile < desk->tiles; tile++) {
        if (!(desk->highest[joint * desk->tiles + tile] > rules->threshold))
            continue;
        int64_t first = corner_of(maps, desk, tile), rows, columns;
        rows = at_most(SIDE, maps->height - first / maps->width);
        columns = at_most(SIDE, maps->width - first % maps->width);
        for (int64_t row = 0; row < rows; row++, first += maps->width)
            for (int64_t cell = first; cell < first + columns; cell++)
                if (heights[cell] > rules->threshold && is_peak(maps, heights, cell, rules->reach) &&
                    is_finite(maps, joint, cell))
                    keep_peak(desk, rules->people, cell, heights[cell]);
    }
}

/* Distances and costs (k, n) of peaks and people. */
static void compare(const ae_maps *maps, const ae_rules *rules, int64_t joint, ae_desk *desk)
{
    for (int64_t peak = 0; peak < desk->peaks; peak++)
        for (int64_t person = 0; person < desk->people; person++) {
            double square = 0;
            for (int64_t l = 0; l < maps->dimensions; l++) {
                double peaks_tag = tags_of(maps, l, joint)[desk->peak_cell[peak]];
                double difference = peaks_tag - desk->tag[person * maps->dimensions + l];
                square += difference * difference;
            }
            double distance = sqrt(square);
            double near = distance < rules->tag_threshold ? distance : rules->tag_threshold;
            double cost = rules->rounded * rint(distance) - desk->peak_height[peak] + rules->nearer * near;
            desk->distance[peak * desk->people + person] = distance;
            desk->cost[peak * desk->people + person] = cost;
        }
}

/* Give one more row its column, for the least cost in all: along the shortest path, in costs less prices,
   from the row to a free column; each column passed goes over to the row that it was reached from (Crouse,
   "On implementing 2D rectangular assignment algorithms", 2016). Where two columns are equally near, a free
   one is taken, then the one looked at first, as SciPy does: so equal assignments are chosen alike. */
static void add_row(ae_desk *desk, int64_t added, int64_t columns, int64_t row_step, int64_t column_step)
{
    int64_t ahead = columns, row = added, free_column = -1;
    double reached = 0;
    for (int64_t column = 0; column < columns; column++) {
        desk->ahead[column] = columns - 1 - column; /* the last in the list leaves it most easily */
        desk->path_cost[column] = INFINITY;
        desk->column_passed[column] = 0;
    }
    for (int64_t i = 0; i <= added; i++)
        desk->row_passed[i] = 0;
    while (free_column < 0) {
        int64_t nearest = 0;
        double least = INFINITY;
        desk->row_passed[row] = 1;
        for (int64_t i = 0; i < ahead; i++) {
            int64_t column = desk->ahead[i];
            double cost = desk->cost[row * row_step + column * column_step];
            double by_row = reached + cost - desk->row_price[row] - desk->column_price[column];
            if (by_row < desk->path_cost[column]) {
                desk->path_cost[column] = by_row;
                desk->reached_from[column] = row;
            }
            double path_cost = desk->path_cost[column];
            if (path_cost < least || (path_cost == least && desk->row_of[column] < 0)) {
                least = path_cost;
                nearest = i;
            }
        }
        int64_t column = desk->ahead[nearest];
        desk->ahead[nearest] = desk->ahead[--ahead];
        desk->column_passed[column] = 1;
        reached = least;
        row = desk->row_of[column];
        if (row < 0)
            free_column = column;
    }
    for (int64_t i = 0; i < added; i++)
        if (desk->row_passed[i])
            desk->row_price[i] += reached - desk->path_cost[desk->column_of[i]];
    desk->row_price[added] += reached;
    for (int64_t column = 0; column < columns; column++)
        if (desk->column_passed[column])
            desk->column_price[column] -= reached - desk->path_cost[column];
    for (int64_t column = free_column; column >= 0;) {
        int64_t taker = desk->reached_from[column];
        int64_t before = desk->column_of[taker]; /* the added one had none */
        desk->row_of[column] = taker;
        desk->column_of[taker] = column;
        column = before;
    }
}

/* The assignment of peaks to people with the least cost; who is more in number is left out in part. */
static void assign(const ae_rules *rules, ae_desk *desk)
{
    int by_people = desk->peaks > desk->people; /* the rows, each of which gets a column */
    int64_t rows = by_people ? desk->people : desk->peaks;
    int64_t columns = by_people ? desk->peaks : desk->people;
    for (int64_t i = 0; i < columns; i++) {
        desk->row_of[i] = desk->column_of[i] = -1;
        desk->row_price[i] = desk->column_price[i] = 0;
    }
    for (int64_t row = 0; row < rows; row++)
        add_row(desk, row, columns, by_people ? 1 : desk->people, by_people ? desk->people : 1);
    for (int64_t peak = 0; peak < desk->peaks; peak++) {
        int64_t person = by_people ? desk->row_of[peak] : desk->column_of[peak];
        int near = person >= 0 && desk->distance[peak * desk->people + person] < rules->tag_threshold;
        desk->goes_to[peak] = near ? person : -1;
    }
}

/* Give the peaks of a joint to those they are assigned to; the others start people. */
static void hand_out(const ae_maps *maps, const ae_rules *rules, int64_t joint, ae_desk *desk)
{
    for (int64_t peak = 0; peak < desk->peaks; peak++) {
        int64_t person = desk->goes_to[peak], cell = desk->peak_cell[peak];
        if (person < 0) {
            if (desk->people == rules->people)
                continue;
            person = desk->people++;
            desk->tag_count[person] = 0;
            for (int64_t l = 0; l < maps->dimensions; l++)
                desk->tag_total[person * maps->dimensions + l] = 0;
            for (int64_t j = 0; j < maps->joints; j++)
                desk->cell[person * maps->joints + j] = -1;
        }
        desk->cell[person * maps->joints + joint] = cell;
        desk->tag_count[person]++;
        for (int64_t l = 0; l < maps->dimensions; l++)
            desk->tag_total[person * maps->dimensions + l] += tags_of(maps, l, joint)[cell];
    }
}

/* A distance of tags as a whole number: rintf, which is no vector operation everywhere. */
static float whole(float square)
{
    const float coarse = 8388608; /* from here on a float has no fraction */
    float distance = sqrtf(square), rounded = (distance + coarse) - coarse;
    return distance < coarse ? rounded : distance;
}

/* Copy a tile of a map; cells beyond its edge are no numbers. */
static void read_tile(const ae_maps *maps, const ae_desk *desk, const float *values, int64_t tile,
                      float *copy)
{
    int64_t left = tile % desk->across * SIDE, top = tile / desk->across * SIDE;
    int64_t rows = at_most(SIDE, maps->height - top), columns = at_most(SIDE, maps->width - left);
    for (int64_t k = 0; k < TILE && (rows < SIDE || columns < SIDE); k++)
        copy[k] = NAN;
    values += top * maps->width + left;
    for (int64_t y = 0; y < rows; y++)
        if (columns == SIDE) /* a length that the compiler knows */
            memcpy(copy + y * SIDE, values + y * maps->width, SIDE * sizeof(float));
        else
            memcpy(copy + y * SIDE, values + y * maps->width, (size_t)columns * sizeof(float));
}

/* The heights of the cells of a tile less their rounded distances from a person's tag (L,). */
static void likeliness(const ae_maps *maps, const ae_desk *desk, int64_t joint, int64_t tile,
                       const double *tag, float *values)
{
    float square[TILE] = {0}, tags[TILE], heights[TILE];
    for (int64_t l = 0; l < maps->dimensions; l++) {
        const float own = (float)tag[l];
        read_tile(maps, desk, tags_of(maps, l, joint), tile, tags);
        for (int k = 0; k < TILE; k++)
            square[k] += (tags[k] - own) * (tags[k] - own);
    }
    read_tile(maps, desk, maps->heatmaps + joint * cells_of(maps), tile, heights);
    for (int k = 0; k < TILE; k++)
        values[k] = heights[k] - whole(square[k]);
}

/* Bound what the cells of each tile have in likeliness: by the highest, had it the nearest tag. Each step of
   that sum is monotonic, with its rounding. */
static void bound_likeliness(const ae_maps *maps, int64_t joint, const double *tag, ae_desk *desk)
{
    int64_t tiles = desk->tiles;
    const float *highest = desk->highest + joint * tiles;
    float *restrict bound = desk->bound;
    for (int64_t tile = 0; tile < tiles; tile++)
        bound[tile] = 0;
    for (int64_t l = 0; l < maps->dimensions; l++) {
        const float *low = desk->low_tag + l * tiles, *high = desk->high_tag + l * tiles;
        const float own = (float)tag[l];
        for (int64_t tile = 0; tile < tiles; tile++) {
            float below = low[tile] - own, above = own - high[tile], away = below > above ? below : above;
            away = away > 0 ? away : 0;
            bound[tile] += away * away;
        }
    }
    for (int64_t tile = 0; tile < tiles; tile++)
        bound[tile] = highest[tile] - whole(bound[tile]);
}

/* Look in a tile for a cell that is likelier than the best one, or as likely and read before it. */
static void look_in(const ae_maps *maps, const ae_desk *desk, int64_t joint, int64_t tile, const double *tag,
                    float *best, int64_t *found)
{
    float values[TILE], most = -INFINITY;
    likeliness(maps, desk, joint, tile, tag, values);
    for (int k = 0; k < TILE; k++)
        most = values[k] > most ? values[k] : most;
    if (!(most >= *best))
        return;
    for (int k = 0; k < TILE; k++) {
        int64_t cell = corner_of(maps, desk, tile) + k / SIDE * maps->width + k % SIDE;
        if (values[k] == most && (most > *best || cell < *found)) {
            *best = most;
            *found = cell;
        }
    }
}

/* The likeliest cell for a joint of a person, the first of equals; -1 if its height is not positive. */
static int64_t likeliest_cell(const ae_maps *maps, int64_t joint, const double *tag, ae_desk *desk)
{
    float best = -INFINITY, most = -INFINITY;
    int64_t found = -1, promising = 0;
    bound_likeliness(maps, joint, tag, desk);
    for (int64_t tile = 0; tile < desk->tiles; tile++)
        if (desk->bound[tile] > most) {
            most = desk->bound[tile];
            promising = tile;
        }
    look_in(maps, desk, joint, promising, tag, &best, &found);
    for (int64_t tile = 0; tile < desk->tiles; tile++) {
        float bound = desk->bound[tile];
        if (bound > best || (bound == best && corner_of(maps, desk, tile) < found))
            look_in(maps, desk, joint, tile, tag, &best, &found);
    }
    return found >= 0 && maps->heatmaps[joint * cells_of(maps) + found] > 0 ? found : -1;
}

static int is_lacking(const ae_maps *maps, int64_t joint, const ae_desk *desk)
{
    for (int64_t person = 0; person < desk->people; person++)
        if (desk->cell[person * maps->joints + joint] < 0)
            return 1;
    return 0;
}

/* Look for the joints that people lack. */
static void refine(const ae_maps *maps, ae_desk *desk)
{
    for (int64_t joint = 0; joint < maps->joints; joint++) {
        if (!is_lacking(maps, joint, desk))
            continue;
        for (int64_t l = 0; l < maps->dimensions; l++) {
            int64_t first = l * desk->tiles;
            range(maps, desk, tags_of(maps, l, joint), desk->low_tag + first, desk->high_tag + first);
        }
        for (int64_t person = 0; person < desk->people; person++) {
            int64_t *cell = desk->cell + person * maps->joints + joint;
            if (*cell < 0)
                *cell = likeliest_cell(maps, joint, desk->tag + person * maps->dimensions, desk);
        }
    }
}

/* What people's tags are now. */
static void average_tags(const ae_maps *maps, ae_desk *desk)
{
    for (int64_t i = 0; i < desk->people * maps->dimensions; i++)
        desk->tag[i] = desk->tag_total[i] / desk->tag_count[i / maps->dimensions];
}

/* The mean over all joints of the heights of those found. */
static double mean_height(const ae_maps *maps, const int64_t *cell)
{
    double total = 0;
    for (int64_t joint = 0; joint < maps->joints; joint++)
        if (cell[joint] >= 0)
            total += maps->heatmaps[joint * cells_of(maps) + cell[joint]];
    return total / maps->joints;
}

/* The joint in a cell: point (2,), the centre moved a quarter to the larger neighbours, and its height. */
static void place_joint(const ae_maps *maps, int64_t joint, int64_t cell, float *point, float *score)
{
    point[0] = point[1] = NAN;
    *score = 0;
    if (cell < 0)
        return;
    const float *height = maps->heatmaps + joint * cells_of(maps) + cell;
    int64_t width = maps->width, x = cell % width, y = cell / width;
    point[0] = x + 0.5f;
    point[1] = y + 0.5f;
    *score = height[0];
    if (x > 0 && x < width - 1 && y > 0 && y < maps->height - 1) {
        point[0] += 0.25f * ((height[1] > height[-1]) - (height[1] < height[-1]));
        point[1] += 0.25f * ((height[width] > height[-width]) - (height[width] < height[-width]));
    }
}

static void find_people(const ae_maps *maps, const ae_rules *rules, ae_desk *desk)
{
    float *lowest = desk->bound; /* of no interest */
    for (int64_t joint = 0; joint < maps->joints; joint++) {
        const float *heights = maps->heatmaps + joint * cells_of(maps);
        range(maps, desk, heights, lowest, desk->highest + joint * desk->tiles);
    }
    for (int64_t i = 0; i < maps->joints; i++) {
        int64_t joint = rules->order[i];
        find_peaks(maps, rules, joint, desk);
        compare(maps, rules, joint, desk);
        assign(rules, desk);
        hand_out(maps, rules, joint, desk);
        average_tags(maps, desk);
    }
}

int64_t ae_group(const ae_maps *maps, const ae_rules *rules, float *points, float *scores,
                 float *person_scores)
{
    int64_t across = (maps->width + SIDE - 1) / SIDE, down = (maps->height + SIDE - 1) / SIDE;
    ae_desk desk = {.across = across, .tiles = across * down};
    int64_t joints = maps->joints, most = rules->people + 1; /* one to spare */
    int64_t tags = most * maps->dimensions, ranges = maps->dimensions * desk.tiles, status = -AE_NO_MEMORY;
    int64_t strip = across * SIDE, of_tiles = (joints + 1) * desk.tiles + 2 * ranges;
    float *floats = malloc((size_t)(of_tiles + 2 * strip) * sizeof(float));
    double *doubles = malloc((size_t)(most * (4 + 2 * most) + 2 * tags) * sizeof(double));
    int64_t *numbers = malloc((size_t)(most * (9 + joints)) * sizeof(int64_t));
    if (floats && doubles && numbers) {
        double **columns[] = {&desk.peak_height, &desk.row_price, &desk.column_price, &desk.path_cost};
        int64_t **lists[] = {&desk.peak_cell, &desk.goes_to, &desk.tag_count, &desk.row_of, &desk.column_of,
                             &desk.reached_from, &desk.ahead, &desk.row_passed, &desk.column_passed};
        for (int i = 0; i < 4; i++)
            *columns[i] = doubles + i * most;
        for (int i = 0; i < 9; i++)
            *lists[i] = numbers + i * most;
        desk.highest = floats;
        desk.low_tag = desk.highest + joints * desk.tiles;
        desk.high_tag = desk.low_tag + ranges;
        desk.bound = desk.high_tag + ranges;
        desk.low = desk.bound + desk.tiles;
        desk.high = desk.low + strip;
        desk.distance = doubles + 4 * most;
        desk.cost = desk.distance + most * most;
        desk.tag_total = desk.cost + most * most;
        desk.tag = desk.tag_total + tags;
        desk.cell = numbers + 9 * most;
        find_people(maps, rules, &desk);
        for (int64_t person = 0; person < desk.people; person++)
            person_scores[person] = (float)mean_height(maps, desk.cell + person * joints);
        if (rules->refine)
            refine(maps, &desk);
        for (int64_t i = 0; i < desk.people * joints; i++)
            place_joint(maps, i % joints, desk.cell[i], points + 2 * i, scores + i);
        status = desk.people;
    }
    free(floats);
    free(doubles);
    free(numbers);
    return status;
}
