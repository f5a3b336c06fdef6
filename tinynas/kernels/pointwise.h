// 1x1 convolutions: products of matrices, over tiles of TILE pixels of a block.
#ifndef TINYNAS_POINTWISE_H
#define TINYNAS_POINTWISE_H

#include "vectors.h"

#define STRIP 32  // pixels that are read at once; a multiple of TILE

// A strip of pixels of a map is staged as (STRIP / TILE, channels, TILE): a tile's values lie one behind the other.
INLINE vec *strip_tile(vec *strip, int channels, int c, int pixel) {
    return strip + ((long)pixel / TILE * channels + c) * TILE;
}

// How many pixels a strip or a tile of `size` has, of those that are left.
INLINE int at_most(int left, int size) { return left < size ? left : size; }

// strip = `count` pixels from p on, as their reader sees them; 0 behind the last one. Its channels: strip_channels.
// The next channel's pixels are far away in memory, and fetched while these are computed.
INLINE void stage_act(vec *strip, int strip_channels, const reader *in, int channels, int pixels, int p, int count,
                      const int act) {
    for (int c = 0; c < channels; c++) {
        const vec *x = in->map + (long)c * pixels + p;
        const affine norm = affine_of(in, c, act);
        const vec gate = in->gate ? in->gate[c] : splat(1);
        for (int q = 0; q < count; q += TILE) {
            vec *tile = strip_tile(strip, strip_channels, c, q);
            for (int j = 0; j < TILE; j++) {
                __builtin_prefetch(x + pixels + q + j);
                vec value = q + j < count ? activate(normalised(x[q + j], &norm, act), act) : (vec){};
                tile[j] = in->gate ? value * gate : value;
            }
        }
    }
}

static void stage(vec *strip, int strip_channels, const reader *in, int channels, int pixels, int p, int count) {
    FOR_ACTIVATION(in->act, stage_act(strip, strip_channels, in, channels, pixels, p, count, ACT))
}

// acc (rows, TILE) = weights (rows, depth) @ x (depth, TILE)
INLINE void multiply(const int rows, const float *weights, const vec *x, int depth, vec acc[ROWS][TILE]) {
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < TILE; j++) acc[r][j] = (vec){};
    for (int k = 0; k < depth; k++)
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < TILE; j++) acc[r][j] += weights[r * depth + k] * x[k * TILE + j];
}

// Compiles a call for each constant number of rows of a tile: `call` uses R.
#if ROWS == 6
#define FOR_ROWS(rows, call)                            \
    switch (rows) {                                     \
        case 1: { enum { R = 1 }; call; break; }        \
        case 2: { enum { R = 2 }; call; break; }        \
        case 3: { enum { R = 3 }; call; break; }        \
        case 4: { enum { R = 4 }; call; break; }        \
        case 5: { enum { R = 5 }; call; break; }        \
        default: { enum { R = 6 }; call; break; }       \
    }
#else
#define FOR_ROWS(rows, call)                            \
    switch (rows) {                                     \
        case 1: { enum { R = 1 }; call; break; }        \
        case 2: { enum { R = 2 }; call; break; }        \
        default: { enum { R = 3 }; call; break; }       \
    }
#endif

// How many rows a tile has, at most ROWS, so that all tiles of `total` rows are about equally high.
INLINE int tile_rows(int total) {
    int tiles = (total + ROWS - 1) / ROWS;
    return (total + tiles - 1) / tiles;
}

// Adds `count` values of a row to its moments; sums them up first, as `m` is in memory.
INLINE void add_moments(moments *m, const vec y[TILE], int count) {
    vec sum = {}, squares = {};
    for (int j = 0; j < count; j++) {
        vec d = y[j] - m->about;
        sum += d;
        squares += d * d;
    }
    m->sum += sum;
    m->squares += squares;
}

// Fetches what is to be written behind a product while that is computed.
INLINE void prefetch_tile(const int rows, const vec *to, int pixels) {
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < TILE; j++) __builtin_prefetch(to + (long)r * pixels + j, 1);
}

// A strip of y (rows, pixels), from pixel p on, and its moments.
INLINE void forward_rows(const int rows, const float *weights, const vec *strip, int depth, vec *y, moments *stats,
                         int pixels, int p, int count) {
    for (int q = 0; q < count; q += TILE) {
        vec acc[ROWS][TILE];
        prefetch_tile(rows, y + p + q, pixels);
        multiply(rows, weights, strip + (long)q * depth, depth, acc);
        const int width = at_most(count - q, TILE);
        for (int r = 0; r < rows; r++) {
            vec *out = y + (long)r * pixels + p + q;
            if (p + q == 0) stats[r] = (moments){.about = splat(acc[r][0][0])};
            if (width == TILE) {
                for (int j = 0; j < TILE; j++) out[j] = acc[r][j];
                add_moments(stats + r, acc[r], TILE);
            } else {
                for (int j = 0; j < width; j++) out[j] = acc[r][j];
                add_moments(stats + r, acc[r], width);
            }
        }
    }
}

// y (outputs, pixels) = weights (outputs, inputs) @ x (inputs, pixels) of one block, and the moments of y.
// Scratch: inputs * STRIP vectors.
static void pointwise_forward(const reader *in, const float *weights, vec *y, moments *stats, int inputs, int outputs,
                              int pixels, vec *scratch) {
    int rows = tile_rows(outputs);
    for (int p = 0; p < pixels; p += STRIP) {
        int count = at_most(pixels - p, STRIP);
        stage(scratch, inputs, in, inputs, pixels, p, count);
        for (int o = 0; o < outputs; o += rows)
            FOR_ROWS(at_most(outputs - o, rows), forward_rows(R, weights + (long)o * inputs, scratch, inputs,
                                                              y + (long)o * pixels, stats + o, pixels, p, count))
    }
}

INLINE int round_up(int count, int unit) { return (count + unit - 1) / unit * unit; }

// Floats that a weight gradient needs: tiles (outputs / OUTER, inputs / INNER) of OUTER * INNER.
static inline size_t outer_product_size(int outputs, int inputs) {
    return (size_t)round_up(outputs, OUTER) * round_up(inputs, INNER);
}

// dw += g (outputs, count) @ x (inputs, count)^T of strips, summed over the lanes.
INLINE void add_outer_products(float *dw, const vec *g, const vec *x, int outputs, int inputs, int count) {
    for (int o = 0; o < outputs; o += OUTER)
        for (int i = 0; i < inputs; i += INNER) {
            vec acc[OUTER * INNER] = {};
            for (int q = 0; q < count; q += TILE) {
                const vec *gs = g + (long)q * outputs + o * TILE, *xs = x + (long)q * inputs + i * TILE;
#pragma GCC unroll 1  // else vectors are loaded for each product anew
                for (int j = 0; j < TILE; j++)
                    for (int r = 0; r < OUTER; r++)
                        for (int c = 0; c < INNER; c++) acc[r * INNER + c] += gs[r * TILE + j] * xs[c * TILE + j];
            }
            for (int k = 0; k < OUTER * INNER; k += LANES, dw += LANES) *(vec *)dw += sum_each(acc + k);
        }
}

// gradient (outputs, inputs) = the tiles' sums.
static void finish_outer_products(const float *dw, float *gradient, int outputs, int inputs) {
    int across = round_up(inputs, INNER) / INNER;
    for (int o = 0; o < outputs; o++)
        for (int i = 0; i < inputs; i++) {
            long tile = (long)(o / OUTER) * across + i / INNER;
            gradient[(long)o * inputs + i] = dw[tile * OUTER * INNER + o % OUTER * INNER + i % INNER];
        }
}

// What the backward pass of one block reads and writes.
typedef struct {
    const vec *g, *y;              // (outputs, pixels): gradient of the normalised map, and the map before the norm
    const norm_gradient *norm;     // (outputs)
    mask live;
    const float *weights;          // (inputs, outputs): transposed
    const vec *add;                // (inputs, pixels): added to gx, or NULL
    const float *means;            // (inputs): of x before its norm; NULL if sums are not needed
    vec *gx;                       // (inputs, pixels): gradient of x before its activation; NULL: of no use
    vec *dw;                       // sums of the weight gradient, or NULL
    gradient_sums *sums;           // (inputs): of gx
} backward_block;

// strip = the gradient before the norm of `count` pixels from p on; 0 behind the last one. Fetches as `stage_act` does.
static void stage_gradient(vec *strip, int strip_channels, const backward_block *b, int channels, int pixels, int p,
                           int count) {
    for (int c = 0; c < channels; c++) {
        const vec *g = b->g + (long)c * pixels + p, *y = b->y + (long)c * pixels + p;
        const norm_gradient norm = b->norm[c];
        for (int q = 0; q < count; q += TILE) {
            vec *tile = strip_tile(strip, strip_channels, c, q);
            for (int j = 0; j < TILE; j++) {
                __builtin_prefetch(g + pixels + q + j);
                __builtin_prefetch(y + pixels + q + j);
                tile[j] = q + j < count ? raw_gradient(g[q + j], y[q + j], &norm, b->live) : (vec){};
            }
        }
    }
}

// Sums of a gradient and of its products with x - mean, lane by lane.
typedef struct {
    vec g, gy;
} lane_sums;

// gx of `count` pixels of a channel, from pixel `at` of its map on, given the gradient g behind the activation.
INLINE void finish_gradient(const vec g[TILE], const reader *in, const backward_block *b, int c, long at, int count,
                            lane_sums *sums, const int act) {
    const affine norm = affine_of(in, c, act);
    const vec mean = splat(b->means ? b->means[c] : 0);
    lane_sums added = {};
    for (int j = 0; j < count; j++) {
        vec x = in->map[at + j], value = activation_gradient(g[j], normalised(x, &norm, act), act);
        if (b->add) value += b->add[at + j];
        b->gx[at + j] = value;
        added.g += value;
        added.gy += value * (x - mean);
    }
    sums->g += added.g;
    sums->gy += added.gy;
}

// gx (rows, pixels), from channel c on, of a strip of `count` pixels from p on.
INLINE void backward_rows(const int rows, const reader *in, const backward_block *b, const vec *strip, int outputs,
                          int c, int pixels, int p, int count, lane_sums *sums, const int act) {
    for (int q = 0; q < count; q += TILE) {
        vec acc[ROWS][TILE];
        prefetch_tile(rows, b->gx + (long)c * pixels + p + q, pixels);
        multiply(rows, b->weights + (long)c * outputs, strip + (long)q * round_up(outputs, OUTER), outputs, acc);
        for (int r = 0; r < rows; r++) {
            long at = (long)(c + r) * pixels + p + q;
            if (count - q >= TILE)
                finish_gradient(acc[r], in, b, c + r, at, TILE, sums + c + r, act);
            else
                finish_gradient(acc[r], in, b, c + r, at, count - q, sums + c + r, act);
        }
    }
}

// The gradient of x behind the activation if that is read through gates: the gates' backward pass does the rest.
INLINE void backward_strip(const reader *in, const backward_block *b, const vec *strip, int outputs, int inputs,
                           int pixels, int p, int count, lane_sums *sums, const int act) {
    int rows = tile_rows(inputs);
    for (int c = 0; c < inputs; c += rows)
        FOR_ROWS(at_most(inputs - c, rows), backward_rows(R, in, b, strip, outputs, c, pixels, p, count, sums, act))
}

// Scratch: STRIP * (outputs + inputs + OUTER + INNER) vectors.
static void pointwise_backward(const reader *in, const backward_block *b, int inputs, int outputs, int pixels,
                               vec *scratch) {
    int inputs_up = round_up(inputs, INNER), outputs_up = round_up(outputs, OUTER);
    vec *gs = scratch, *xs = scratch + outputs_up * STRIP;
    if (outputs_up > outputs || inputs_up > inputs)  // channels that are not staged
        memset(scratch, 0, sizeof(vec) * STRIP * (outputs_up + inputs_up));
    lane_sums sums[inputs];
    memset(sums, 0, sizeof sums);
    for (int p = 0; p < pixels; p += STRIP) {
        int count = at_most(pixels - p, STRIP);
        stage_gradient(gs, outputs_up, b, outputs, pixels, p, count);
        if (b->dw) {
            stage(xs, inputs_up, in, inputs, pixels, p, count);
            add_outer_products((float *)b->dw, gs, xs, outputs_up, inputs_up, count);
        }
        if (b->gx)
            FOR_ACTIVATION(in->gate ? PLAIN : in->act,
                           backward_strip(in, b, gs, outputs, inputs, pixels, p, count, sums, ACT))
    }
    for (int c = 0; b->means && c < inputs; c++)
        b->sums[c] = (gradient_sums){sum_lanes(sums[c].g), sum_lanes(sums[c].gy)};
}

#endif
