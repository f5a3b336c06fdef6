// Depthwise convolutions, and planes of dense ones: a channel of a block at a time, copied into a plane with a border.
#ifndef TINYNAS_DEPTHWISE_H
#define TINYNAS_DEPTHWISE_H

#include "pointwise.h"

#define AHEAD 32   // pixels of a map that are fetched ahead
#define COLUMNS 4  // outputs of a row that are computed together
#define MAX_KERNEL 15

// The sizes of a convolution with padding by half a kernel on every side.
typedef struct {
    int height, width;          // of its input
    int kernel, stride;
    int out_height, out_width;
} geometry;

INLINE int border(const geometry *s) { return s->kernel / 2; }
INLINE int plane_width(const geometry *s) { return s->width + 2 * border(s) + COLUMNS * s->stride; }
INLINE int plane_height(const geometry *s) { return s->height + 2 * border(s) + s->stride; }
INLINE long plane_size(const geometry *s) { return (long)plane_width(s) * plane_height(s); }

// Rows of a map that are computed together, so that what they read is in the first-level cache.
INLINE int rows_at_once(int width) { return 1 + 32 / width; }

// Rows first..end-1 of a plane = those of a channel of a map, as its reader sees it; its border is left as it is.
INLINE void copy_rows_act(vec *plane, const reader *in, int c, const geometry *s, int first, int end, const int act) {
    const vec *x = in->map + (long)c * s->height * s->width;
    const affine norm = affine_of(in, c, act);
    for (int h = first; h < end; h++) {
        vec *row = plane + (long)(h + border(s)) * plane_width(s) + border(s);
        for (int w = 0; w < s->width; w++) {
            __builtin_prefetch(x + (long)h * s->width + w + AHEAD);
            row[w] = activate(normalised(x[(long)h * s->width + w], &norm, act), act);
        }
    }
}

static void copy_rows(vec *plane, const reader *in, int c, const geometry *s, int first, int end) {
    FOR_ACTIVATION(in->act, copy_rows_act(plane, in, c, s, first, end, ACT))
}

// How many rows of its input a convolution's rows up to end - 1 read.
INLINE int rows_read(const geometry *s, int end) { return at_most((end - 1) * s->stride + border(s) + 1, s->height); }

// out[e] += the convolution at COLUMNS places of a row, `stride` apart; x: the first one's upper left corner.
INLINE void convolve_columns(const int kernel, const int stride, const vec *x, int width, const float *w,
                             vec out[COLUMNS]) {
    for (int i = 0; i < kernel; i++)
        for (int j = 0; j < kernel; j++)
            for (int e = 0; e < COLUMNS; e++) out[e] += w[i * kernel + j] * x[(long)i * width + j + e * stride];
}

// Rows first..end-1 of y (out_height, out_width) = the sum of the convolutions of `inputs` planes, and their moments.
INLINE void convolve_rows(const int kernel, const int stride, const vec *planes, int inputs, const float *w,
                          const geometry *s, int first, int end, vec *y, moments *stats) {
    const int width = plane_width(s);
    const long size = plane_size(s);
    moments m = *stats;
    for (int h = first; h < end; h++)
        for (int o = 0; o < s->out_width; o += COLUMNS) {
            int count = at_most(s->out_width - o, COLUMNS);
            vec acc[COLUMNS] = {};
            for (int i = 0; i < inputs; i++)
                convolve_columns(kernel, stride, planes + i * size + ((long)h * width + o) * stride, width,
                                 w + i * kernel * kernel, acc);
            if (h == 0 && o == 0) m = (moments){.about = splat(acc[0][0])};
            for (int e = 0; e < count; e++) {
                y[(long)h * s->out_width + o + e] = acc[e];
                add_moment(&m, acc[e]);
            }
        }
    *stats = m;
}

// Compiles a call for each kernel and stride that the search spaces have, with K and S; others share a slow one.
#define FOR_KERNEL(kernel, stride, call)                                                     \
    do {                                                                                     \
        if ((kernel) == 3 && (stride) == 1) { enum { K = 3, S = 1 }; call; }                 \
        else if ((kernel) == 5 && (stride) == 1) { enum { K = 5, S = 1 }; call; }            \
        else if ((kernel) == 7 && (stride) == 1) { enum { K = 7, S = 1 }; call; }            \
        else if ((kernel) == 3 && (stride) == 2) { enum { K = 3, S = 2 }; call; }            \
        else if ((kernel) == 5 && (stride) == 2) { enum { K = 5, S = 2 }; call; }            \
        else if ((kernel) == 7 && (stride) == 2) { enum { K = 7, S = 2 }; call; }            \
        else { const int K = (kernel), S = (stride); call; }                                 \
    } while (0)

static void convolve(const vec *planes, int inputs, const float *w, const geometry *s, int first, int end, vec *y,
                     moments *stats) {
    FOR_KERNEL(s->kernel, s->stride, convolve_rows(K, S, planes, inputs, w, s, first, end, y, stats));
}

// y (channels, out_height, out_width) of one block, and its moments. Scratch: a plane.
static void depthwise_forward(const reader *in, const float *weights, vec *y, moments *stats, int channels,
                              const geometry *s, vec *scratch) {
    memset(scratch, 0, sizeof(vec) * plane_size(s));
    for (int c = 0; c < channels; c++) {
        int rows = rows_at_once(s->out_width), end;
        for (int h = 0, copied = 0; h < s->out_height; h = end) {
            end = at_most(h + rows, s->out_height);
            copy_rows(scratch, in, c, s, copied, rows_read(s, end));
            copied = rows_read(s, end);
            convolve(scratch, 1, weights + c * s->kernel * s->kernel, s, h, end,
                     y + (long)c * s->out_height * s->out_width, stats + c);
        }
    }
}

// Sizes of the plane of the gradient of a convolution's output, which has the same border as its input's.
INLINE int gradient_width(const geometry *s) { return s->out_width + 2 * border(s) + COLUMNS; }
INLINE long gradient_size(const geometry *s) { return (long)gradient_width(s) * (s->out_height + 2 * border(s)); }

// dw (rows, kernel) += the products of a gradient and a plane, lane by lane: some rows of the kernel, from `first` on.
INLINE void correlate_rows(const int kernel, const int stride, const int rows, int first, const vec *gradient,
                           const vec *plane, const geometry *s, vec *dw) {
    vec acc[PRODUCTS + MAX_KERNEL];
    for (int k = 0; k < rows * kernel; k++) acc[k] = dw[first * kernel + k];
    for (int h = 0; h < s->out_height; h++) {
        const vec *g = gradient + (long)(h + border(s)) * gradient_width(s) + border(s);
        const vec *x = plane + ((long)h * stride + first) * plane_width(s);
        for (int o = 0; o < s->out_width; o++)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < kernel; j++)
                    acc[i * kernel + j] += g[o] * x[(long)i * plane_width(s) + (long)o * stride + j];
    }
    for (int k = 0; k < rows * kernel; k++) dw[first * kernel + k] = acc[k];
}

// dw (kernel, kernel) += the products, for as many rows of the kernel at once as there are registers.
INLINE void correlate_kernel(const int kernel, const int stride, const vec *gradient, const vec *plane,
                             const geometry *s, vec *dw) {
    const int rows = kernel * kernel <= PRODUCTS ? kernel : PRODUCTS / kernel > 1 ? PRODUCTS / kernel : 1;
    int first = 0;
    for (; first + rows <= kernel; first += rows) correlate_rows(kernel, stride, rows, first, gradient, plane, s, dw);
    if (first < kernel) correlate_rows(kernel, stride, kernel % rows, first, gradient, plane, s, dw);
}

static void correlate(const vec *gradient, const vec *plane, const geometry *s, vec *dw) {
    FOR_KERNEL(s->kernel, s->stride, correlate_kernel(K, S, gradient, plane, s, dw));
}

// dx[h, o], dx[h, o + stride], ... of COLUMNS places; top, left: (h + pad) and (o + pad) modulo the stride. plane: the
// gradient within its border. dx[h, o] is the sum of w[i, j] * g[(h + pad - i) / stride, (o + pad - j) / stride] over
// the taps for which the divisions have no rest: every one, or with stride 2 those of one parity.
INLINE void spread_columns(const int kernel, const int stride, const int top, const int left, const vec *plane,
                           int width, const float *w, int h, int o, vec out[COLUMNS]) {
    const int pad = kernel / 2;
    const vec *g = plane + (long)((h + pad) / stride + pad) * width + (o + pad) / stride + pad;
    for (int i = top; i < kernel; i += stride)
        for (int j = left; j < kernel; j += stride)
            for (int e = 0; e < COLUMNS; e++)
                out[e] += w[i * kernel + j] * g[e - (long)(i / stride) * width - j / stride];
}

INLINE void spread_row(const int kernel, const int stride, const int top, const vec *plane, const float *w,
                       const geometry *s, int h, vec *dx) {
    for (int phase = 0; phase < stride; phase++)
        for (int o = phase; o < s->width; o += COLUMNS * stride) {
            vec acc[COLUMNS] = {};
            const int left = (phase + kernel / 2) % stride;
            spread_columns(kernel, stride, top, left, plane, gradient_width(s), w, h, o, acc);
            for (int e = 0; e < COLUMNS && o + e * stride < s->width; e++)
                dx[(long)h * s->width + o + e * stride] = acc[e];
        }
}

// Rows first..end-1 of dx (height, width).
INLINE void spread_rows(const int kernel, const int stride, const vec *plane, const float *w, const geometry *s,
                        int first, int end, vec *dx) {
    for (int h = first; h < end; h++) {
        const int top = (h + kernel / 2) % stride;
        if (stride == 2 && top == 0)
            spread_row(kernel, stride, 0, plane, w, s, h, dx);
        else if (stride == 2)
            spread_row(kernel, stride, 1, plane, w, s, h, dx);
        else
            spread_row(kernel, stride, top, plane, w, s, h, dx);
    }
}

static void spread_gradient(const vec *plane, const float *w, const geometry *s, int first, int end, vec *dx) {
    FOR_KERNEL(s->kernel, s->stride, spread_rows(K, S, plane, w, s, first, end, dx));
}

// The gradient of a channel's map before its norm, in a plane whose border is left as it is.
static void copy_gradient(const vec *g, const vec *y, const norm_gradient *norm, mask live, const geometry *s,
                          vec *plane) {
    const norm_gradient n = *norm;
    for (int h = 0; h < s->out_height; h++) {
        vec *row = plane + (long)(h + border(s)) * gradient_width(s) + border(s);
        for (int w = 0; w < s->out_width; w++, g++, y++) row[w] = raw_gradient(*g, *y, &n, live);
    }
}

// Pixels first..end-1 of gx of a channel, from behind the activation to before it, in place, and their sums.
INLINE void finish_pixels_act(const reader *in, const backward_block *b, int c, int pixels, int first, int end,
                              lane_sums *sums, const int act) {
    const affine norm = affine_of(in, c, act);
    const vec mean = splat(b->means ? b->means[c] : 0);
    lane_sums added = {};
    for (long p = (long)c * pixels + first; p < (long)c * pixels + end; p++) {
        vec x = in->map[p], g = activation_gradient(b->gx[p], normalised(x, &norm, act), act);
        if (b->add) g += b->add[p];
        b->gx[p] = g;
        added.g += g;
        added.gy += g * (x - mean);
    }
    sums->g += added.g;
    sums->gy += added.gy;
}

static void finish_pixels(const reader *in, const backward_block *b, int c, int pixels, int first, int end,
                          lane_sums *sums) {
    FOR_ACTIVATION(in->act, finish_pixels_act(in, b, c, pixels, first, end, sums, ACT))
}

// The gradient of a channel of the input, given that of the output in a plane.
static void spread_channel(const reader *in, const backward_block *b, int c, const geometry *s, const vec *plane) {
    int pixels = s->height * s->width, rows = rows_at_once(s->width);
    lane_sums sums = {};
    for (int h = 0; h < s->height; h += rows) {
        int end = at_most(h + rows, s->height);
        spread_gradient(plane, b->weights + c * s->kernel * s->kernel, s, h, end, b->gx + (long)c * pixels);
        finish_pixels(in, b, c, pixels, h * s->width, end * s->width, &sums);
    }
    if (b->means) b->sums[c] = (gradient_sums){sum_lanes(sums.g), sum_lanes(sums.gy)};
}

static inline long depthwise_scratch(const geometry *s) { return plane_size(s) + gradient_size(s); }

// The backward pass of one block; what b has of (outputs) is of (channels). b->weights (channels, kernel, kernel) is
// not turned. b->dw: (channels, kernel * kernel). Scratch: depthwise_scratch.
static void depthwise_backward(const reader *in, const backward_block *b, int channels, const geometry *s,
                               vec *scratch) {
    int taps = s->kernel * s->kernel, out_pixels = s->out_height * s->out_width;
    vec *plane = scratch, *gradient = plane + plane_size(s);
    memset(scratch, 0, sizeof(vec) * depthwise_scratch(s));
    for (int c = 0; c < channels; c++) {
        long out = (long)c * out_pixels;
        copy_gradient(b->g + out, b->y + out, b->norm + c, b->live, s, gradient);
        if (b->dw) {
            copy_rows(plane, in, c, s, 0, s->height);
            correlate(gradient, plane, s, b->dw + (long)c * taps);
        }
        if (b->gx) spread_channel(in, b, c, s, gradient);
    }
}

static inline long dense_scratch(const geometry *s, int inputs) { return inputs * plane_size(s) + gradient_size(s); }

// Dense convolution of images (inputs, height, width), which have no gradient: y (outputs, out_height, out_width) of
// one block, and its moments. Scratch: dense_scratch.
static void dense_forward(const reader *in, const float *weights, vec *y, moments *stats, int inputs, int outputs,
                          const geometry *s, vec *scratch) {
    memset(scratch, 0, sizeof(vec) * dense_scratch(s, inputs));
    for (int i = 0; i < inputs; i++) copy_rows(scratch + i * plane_size(s), in, i, s, 0, s->height);
    for (int o = 0; o < outputs; o++)
        convolve(scratch, inputs, weights + (long)o * inputs * s->kernel * s->kernel, s, 0, s->out_height,
                 y + (long)o * s->out_height * s->out_width, stats + o);
}

// b->dw (outputs, inputs, kernel * kernel) of one block. Scratch: dense_scratch.
static void dense_backward(const reader *in, const backward_block *b, int inputs, int outputs, const geometry *s,
                           vec *scratch) {
    int taps = s->kernel * s->kernel, out_pixels = s->out_height * s->out_width;
    vec *gradient = scratch + inputs * plane_size(s);
    memset(scratch, 0, sizeof(vec) * dense_scratch(s, inputs));
    for (int i = 0; i < inputs; i++) copy_rows(scratch + i * plane_size(s), in, i, s, 0, s->height);
    for (int o = 0; o < outputs; o++) {
        long out = (long)o * out_pixels;
        copy_gradient(b->g + out, b->y + out, b->norm + o, b->live, s, gradient);
        for (int i = 0; i < inputs; i++)
            correlate(gradient, scratch + i * plane_size(s), s, b->dw + ((long)o * inputs + i) * taps);
    }
}

#endif
