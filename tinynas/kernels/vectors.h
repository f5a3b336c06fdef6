// Vectors of LANES floats, one image a lane, in GCC's and Clang's portable vector extensions.
//
// A feature map of a batch is an array (blocks, channels, height, width) of vectors: LANES images a block. Every loop
// runs over all images of a block at once, so that any number of channels, kernel, stride and size runs at the full
// width of the machine's registers. Lanes without an image, in the last block, are dead: their values are not used.
#ifndef TINYNAS_VECTORS_H
#define TINYNAS_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30  // of two vectors, one behind the other
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif defined(__AVX2__)
#define LANES 8
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15
#else  // NEON, or SSE2
#define LANES 4
#define EVEN_LANES 0, 2, 4, 6
#define ODD_LANES 1, 3, 5, 7
#endif

#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
#define ROWS 6     // a tile of a matrix product: output channels
#define TILE 4     // and pixels; ROWS * TILE accumulators
#define OUTER 4    // a tile of a weight gradient: output channels
#define INNER 4    // and input channels; OUTER * INNER accumulators, a multiple of LANES
#define PRODUCTS 15  // taps of a depthwise weight gradient that are summed up at once
#else  // 16 registers
#define ROWS 3
#define TILE 4
#define OUTER 2
#define INNER 4
#define PRODUCTS 9
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));  // -1 or 0 in every lane

#define INLINE static inline __attribute__((always_inline))

INLINE vec splat(float value) { return value - (vec){}; }

// The lanes of x where m is set, 0 elsewhere; a NaN elsewhere is not kept.
INLINE vec keep(vec x, mask m) { return (vec)((mask)x & m); }

INLINE vec choose(mask m, vec x, vec y) { return (vec)(((mask)x & m) | ((mask)y & ~m)); }

INLINE double sum_lanes(vec x) {
    double sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

// The lanes of two vectors, one behind the other, that are numbered by the constants.
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (mask){__VA_ARGS__})
#endif

// A vector of the sums of the lanes of LANES vectors, which are overwritten: adding neighbours halves them in number.
INLINE vec sum_each(vec x[LANES]) {
    for (int count = LANES / 2; count > 0; count /= 2)
        for (int k = 0; k < count; k++)
            x[k] = SHUFFLE(x[2 * k], x[2 * k + 1], EVEN_LANES) + SHUFFLE(x[2 * k], x[2 * k + 1], ODD_LANES);
    return x[0];
}

INLINE mask first_lanes(int count) {
    mask m;
    for (int lane = 0; lane < LANES; lane++) m[lane] = lane < count ? -1 : 0;
    return m;
}

// Copies `count` arrays of `size` floats, one behind the other, to the first lanes of vectors; the others are 0.
static void pack(const float *from, int count, long size, vec *to) {
    if (count < LANES) memset(to, 0, sizeof(vec) * size);
    for (long start = 0; start < size; start += LANES)
        for (int lane = 0; lane < count; lane++)
            for (long k = start; k < start + LANES && k < size; k++) to[k][lane] = from[lane * size + k];
}

// The reverse of `pack`.
static void unpack(const vec *from, int count, long size, float *to) {
    for (long start = 0; start < size; start += LANES)
        for (int lane = 0; lane < count; lane++)
            for (long k = start; k < start + LANES && k < size; k++) to[lane * size + k] = from[k][lane];
}

// What a reader of a map applies to it: nothing, to a sum of a block; else batch norm and an activation.
enum { PLAIN, LINEAR, RELU, RELU6, HSWISH };

// Comparisons are written so that NaN is passed on: it must be found in the loss or the gradients.
INLINE vec activate(vec z, int act) {
    if (act == RELU) return keep(z, ~(z < 0));
    if (act == RELU6) return choose(z > 6, splat(6), keep(z, ~(z < 0)));
    if (act == HSWISH) {
        vec t = z + 3;
        t = choose(t > 6, splat(6), keep(t, ~(t < 0)));
        return z * t * (1.0f / 6);
    }
    return z;
}

// g times the derivative of the activation at z.
INLINE vec activation_gradient(vec g, vec z, int act) {
    if (act == RELU) return keep(g, ~(z <= 0));
    if (act == RELU6) return keep(g, ~((z <= 0) | (z >= 6)));
    if (act == HSWISH) return choose(z > 3, g, keep(g * (z * (1.0f / 3) + 0.5f), ~(z < -3)));
    return g;
}

// Compiles a call for each constant activation: `call` uses ACT.
#define FOR_ACTIVATION(act, call)                                   \
    switch (act) {                                                  \
        case PLAIN: { enum { ACT = PLAIN }; call; break; }          \
        case LINEAR: { enum { ACT = LINEAR }; call; break; }        \
        case RELU: { enum { ACT = RELU }; call; break; }            \
        case RELU6: { enum { ACT = RELU6 }; call; break; }          \
        default: { enum { ACT = HSWISH }; call; break; }            \
    }

// How a map of one block is read: act(scale[c] * map[c, pixel] + shift[c]) * gate[c].
typedef struct {
    const vec *map;      // (channels, pixels)
    const float *scale;  // (channels), and shift; not used if act is PLAIN
    const float *shift;
    const vec *gate;     // (channels), or NULL
    int act;
} reader;

// Batch norm of a channel.
typedef struct {
    float scale, shift;
} affine;

INLINE affine affine_of(const reader *in, int c, int act) {
    return act == PLAIN ? (affine){1, 0} : (affine){in->scale[c], in->shift[c]};
}

INLINE vec normalised(vec x, const affine *norm, int act) { return act == PLAIN ? x : x * norm->scale + norm->shift; }

// Sums of a map's values over a block, about the first of them: sums of squares do not cancel as they would about 0.
typedef struct {
    vec about, sum, squares;
} moments;

INLINE void add_moment(moments *m, vec y) {
    vec d = y - m->about;
    m->sum += d;
    m->squares += d * d;
}

// Mean and sum of squared deviations of a channel over the live lanes of a block.
typedef struct {
    double mean, deviations;
} spread;

static inline spread finish_moments(const moments *m, mask live, double count) {
    double sum = sum_lanes(keep(m->sum, live)), squares = sum_lanes(keep(m->squares, live));
    double deviations = squares - sum * sum / count;
    return (spread){m->about[0] + sum / count, deviations < 0 ? 0 : deviations};
}

// How the gradient g of a normalised map becomes that of the map y before batch norm (Ioffe and Szegedy, 2015,
// section 3): scale * (g - mean of g - (y - mean) * slope).
typedef struct {
    float scale, mean, slope, center;
} norm_gradient;

INLINE vec raw_gradient(vec g, vec y, const norm_gradient *n, mask live) {
    return keep(n->scale * (g - n->center - (y - n->mean) * n->slope), live);
}

// Sums of a gradient g and of g * (y - mean) over a block, for the gradients of batch norm.
typedef struct {
    double g, gy;
} gradient_sums;

#endif
