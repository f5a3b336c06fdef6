// What is done pixel by pixel: sums of a block's input and output, global averages, squeeze-excite; of one block each.
#ifndef TINYNAS_ELEMENTWISE_H
#define TINYNAS_ELEMENTWISE_H

#include "vectors.h"

// out = the map as its reader sees it, plus the shortcut's if that is not NULL.
INLINE void sum_forward_act(const reader *in, const vec *shortcut, vec *out, int channels, int pixels, const int act) {
    for (int c = 0; c < channels; c++) {
        const affine norm = affine_of(in, c, act);
        for (long p = (long)c * pixels; p < (long)(c + 1) * pixels; p++) {
            vec value = activate(normalised(in->map[p], &norm, act), act);
            out[p] = shortcut ? value + shortcut[p] : value;
        }
    }
}

static void sum_forward(const reader *in, const vec *shortcut, vec *out, int channels, int pixels) {
    FOR_ACTIVATION(in->act, sum_forward_act(in, shortcut, out, channels, pixels, ACT))
}

// out (channels, height, width) = the nearest pixels of a map of half the height and width, rounded up.
static void upsample_forward(const vec *map, vec *out, int channels, int height, int width) {
    int low = (height + 1) / 2, narrow = (width + 1) / 2;
    for (int c = 0; c < channels; c++)
        for (int h = 0; h < height; h++) {
            const vec *row = map + (c * low + h / 2) * narrow;
            for (int w = 0; w < width; w++) *out++ = row[w / 2];
        }
}

// gx = the sum of g (channels, height, width) over the pixels that a pixel has become, plus `add` if that is not NULL.
static void upsample_backward(const vec *g, const vec *add, vec *gx, int channels, int height, int width) {
    int low = (height + 1) / 2, narrow = (width + 1) / 2;
    for (int k = 0; k < channels * low * narrow; k++) gx[k] = add ? add[k] : splat(0);
    for (int c = 0; c < channels; c++)
        for (int h = 0; h < height; h++) {
            vec *row = gx + (c * low + h / 2) * narrow;
            for (int w = 0; w < width; w++) row[w / 2] += *g++;
        }
}

// gx = the gradient before the activation, and its sums. g (channels, pixels): the gradient of what is read, behind the
// gates; of_average (channels): that of its average. Either may be NULL.
INLINE void activation_backward_act(const reader *in, const vec *g, const vec *of_average, vec *gx, const float *means,
                                    gradient_sums *sums, int channels, int pixels, const int act) {
    for (int c = 0; c < channels; c++) {
        const affine norm = affine_of(in, c, act);
        vec sum_g = {}, sum_gy = {};
        vec gate = in->gate ? in->gate[c] : splat(1);
        vec constant = of_average ? of_average[c] * (1.0f / pixels) : splat(0);
        for (long p = (long)c * pixels; p < (long)(c + 1) * pixels; p++) {
            vec x = in->map[p];
            vec value = activation_gradient((g ? g[p] * gate : splat(0)) + constant, normalised(x, &norm, act), act);
            if (gx) gx[p] = value;
            sum_g += value;
            if (means) sum_gy += value * (x - means[c]);
        }
        if (means) sums[c] = (gradient_sums){sum_lanes(sum_g), sum_lanes(sum_gy)};
    }
}

static void activation_backward(const reader *in, const vec *g, const vec *of_average, vec *gx, const float *means,
                                gradient_sums *sums, int channels, int pixels) {
    FOR_ACTIVATION(in->act, activation_backward_act(in, g, of_average, gx, means, sums, channels, pixels, ACT))
}

// means (channels) over the pixels of a map as its reader sees it; with g, of its product with g.
INLINE void average_act(const reader *in, const vec *g, vec *means, int channels, int pixels, const int act) {
    for (int c = 0; c < channels; c++) {
        const affine norm = affine_of(in, c, act);
        vec sum = {};
        for (long p = (long)c * pixels; p < (long)(c + 1) * pixels; p++) {
            vec value = activate(normalised(in->map[p], &norm, act), act);
            sum += g ? value * g[p] : value;
        }
        means[c] = sum * (1.0f / pixels);
    }
}

static void average(const reader *in, const vec *g, vec *means, int channels, int pixels) {
    FOR_ACTIVATION(in->act, average_act(in, g, means, channels, pixels, ACT))
}

// Squeeze-excite (Hu et al., CVPR 2018) with a hard sigmoid (Howard et al., ICCV 2019).
typedef struct {
    int channels, hidden;
    const float *reduce, *reduce_bias;  // (hidden, channels), (hidden)
    const float *expand, *expand_bias;  // (channels, hidden), (channels)
} squeeze;

// What a block's gates are computed from, and the gates.
typedef struct {
    vec *pooled, *hidden, *logits, *gates;  // (channels), (hidden), (channels), (channels)
} gate_state;

static void gate_forward(const reader *in, const squeeze *s, const gate_state *state, int pixels) {
    average(in, NULL, state->pooled, s->channels, pixels);
    for (int h = 0; h < s->hidden; h++) {
        vec z = splat(s->reduce_bias[h]);
        for (int c = 0; c < s->channels; c++) z += s->reduce[h * s->channels + c] * state->pooled[c];
        state->hidden[h] = activate(z, RELU);
    }
    for (int c = 0; c < s->channels; c++) {
        vec z = splat(s->expand_bias[c]);
        for (int h = 0; h < s->hidden; h++) z += s->expand[c * s->hidden + h] * state->hidden[h];
        state->logits[c] = z;
        state->gates[c] = activate(z + 3, RELU6) * (1.0f / 6);
    }
}

// Sums over lanes of the gradients of a squeeze-excite's parameters, and the gradient of the averages.
typedef struct {
    vec *reduce, *reduce_bias, *expand, *expand_bias;  // as in `squeeze`; added to
    vec *pooled;                                       // (channels)
} gate_gradient;

// g (channels, pixels): the gradient of what the gates scaled. Scratch: channels + hidden vectors.
static void gate_backward(const reader *in, const vec *g, const squeeze *s, const gate_state *state,
                          const gate_gradient *out, int pixels, vec *scratch) {
    vec *of_logits = scratch, *of_hidden = scratch + s->channels;
    average(in, g, of_logits, s->channels, pixels);
    for (int c = 0; c < s->channels; c++) {
        vec z = state->logits[c];
        of_logits[c] = keep(of_logits[c] * ((float)pixels / 6), ~((z <= -3) | (z >= 3)));
        out->expand_bias[c] += of_logits[c];
        for (int h = 0; h < s->hidden; h++) out->expand[c * s->hidden + h] += of_logits[c] * state->hidden[h];
    }
    for (int h = 0; h < s->hidden; h++) {
        vec sum = {};
        for (int c = 0; c < s->channels; c++) sum += s->expand[c * s->hidden + h] * of_logits[c];
        of_hidden[h] = activation_gradient(sum, state->hidden[h], RELU);
        out->reduce_bias[h] += of_hidden[h];
        for (int c = 0; c < s->channels; c++) out->reduce[h * s->channels + c] += of_hidden[h] * state->pooled[c];
    }
    for (int c = 0; c < s->channels; c++) {
        vec sum = {};
        for (int h = 0; h < s->hidden; h++) sum += s->reduce[h * s->channels + c] * of_hidden[h];
        out->pooled[c] = sum;
    }
}

#endif
