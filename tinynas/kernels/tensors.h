// Weights are copied out of the tensors that hold them, and their gradients are added to those of the tensors.
#ifndef TINYNAS_TENSORS_H
#define TINYNAS_TENSORS_H

#include "run.h"

// Copies a part of a tensor (a, b, kernel, kernel) to contiguous floats.
static float *gather(const run *r, const part *p, int a, int b, int kernel, float *out) {
    const float *from = r->values[p->tensor] + p->offset;
    for (int c = 0; c < a; c++)
        for (int d = 0; d < b; d++)
            for (int y = 0; y < kernel; y++)
                for (int x = 0; x < kernel; x++)
                    *out++ = from[c * p->strides[0] + d * p->strides[1] + y * p->strides[2] + x * p->strides[3]];
    return out;
}

// Adds contiguous floats to the gradient of a part of a tensor.
static void scatter(const run *r, const part *p, int a, int b, int kernel, const float *values) {
    float *to = r->gradients[p->tensor];
    if (!to) return;
    to += p->offset;
    for (int c = 0; c < a; c++)
        for (int d = 0; d < b; d++)
            for (int y = 0; y < kernel; y++)
                for (int x = 0; x < kernel; x++)
                    to[c * p->strides[0] + d * p->strides[1] + y * p->strides[2] + x * p->strides[3]] += *values++;
}

static long gate_weights(const operation *o) { return 2 * o->inputs * o->outputs + o->inputs + o->outputs; }

static void set_squeeze(const operation *o, state *s) {
    if (o->kind != GATE) return;
    int channels = (int)o->inputs, hidden = (int)o->outputs;
    const float *at = s->weights;
    s->squeeze = (squeeze){channels, hidden, at, at + hidden * channels, at + hidden * (channels + 1),
                           at + hidden * (2 * channels + 1)};
}

// Adds the threads' gradients of an operation's weights to those of the tensors.
static void add_weight_gradients(run *r, int i) {
    const operation *o = r->ops + i;
    if (!is_convolution(o) && o->kind != GATE) return;
    long size = o->kind == GATE ? gate_weights(o) : weights_of(o);
    float *sums = r->states[i].weight_gradients;
    for (int t = 1; t < r->threads; t++)
        for (long k = 0; k < size; k++) sums[k] += sums[t * size + k];
    int channels = (int)o->inputs, hidden = (int)o->outputs;
    if (o->kind == GATE) {
        scatter(r, &o->weight, hidden, channels, 1, sums);
        scatter(r, &o->shift, hidden, 1, 1, sums + hidden * channels);
        scatter(r, &o->expand, channels, hidden, 1, sums + hidden * (channels + 1));
        scatter(r, &o->expand_shift, channels, 1, 1, sums + hidden * (2 * channels + 1));
    } else {
        scatter(r, &o->weight, hidden, o->kind == DEPTHWISE ? 1 : channels, (int)o->kernel, sums);
    }
}

static void transpose(const float *from, float *to, int rows, int columns) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) to[(long)j * rows + i] = from[(long)i * columns + j];
}

static void gather_weights(run *r, const operation *o, state *s) {
    if (o->kind == GATE) {
        int channels = (int)o->inputs, hidden = (int)o->outputs;
        float *at = s->weights;
        set_squeeze(o, s);
        at = gather(r, &o->weight, hidden, channels, 1, at);
        at = gather(r, &o->shift, hidden, 1, 1, at);
        at = gather(r, &o->expand, channels, hidden, 1, at);
        gather(r, &o->expand_shift, channels, 1, 1, at);
    } else if (is_convolution(o)) {
        gather(r, &o->weight, (int)o->outputs, o->kind == DEPTHWISE ? 1 : (int)o->inputs, (int)o->kernel, s->weights);
    }
}

#endif
