// A program of operations on maps, and what is kept of one while it runs.
#ifndef TINYNAS_RUN_H
#define TINYNAS_RUN_H

#include <sched.h>
#include <stdatomic.h>

#include "depthwise.h"
#include "elementwise.h"
#include "pointwise.h"

enum { DENSE, POINTWISE, DEPTHWISE, SUM, GATE, AVERAGE, UPSAMPLE };  // kinds of operations

// A part of a tensor, which is given by its number among the program's tensors.
typedef struct {
    int64_t tensor, offset, strides[4];
} part;

// An operation. Operations are called by their numbers; -1 is none, and as an input the images.
typedef struct {
    int64_t kind, act;           // the activation after a convolution's norm; HSWISH, ...
    int64_t input;               // the operation whose output it reads
    int64_t shortcut;            // SUM: the operation whose output is added
    int64_t gate;                // POINTWISE: the GATE that scales its input
    int64_t inputs, outputs;     // channels; GATE: channels and hidden ones
    int64_t height, width;       // of the input; UPSAMPLE: of the output
    int64_t kernel, stride;
    part weight, scale, shift;        // of a convolution and its norm, or of a GATE's first layer
    part mean, variance, updates;     // running statistics of a norm, and the number of their updates, an int64
    part expand, expand_shift;        // of a GATE's second layer
    double eps, momentum;             // momentum below 0: running statistics are means over all updates
} operation;

// The batch norm of a convolution's output, per channel.
typedef struct {
    float *scale, *shift;        // of a reader
    float *means, *deviations;   // deviations: 1 / sqrt(variance + eps)
} norm_state;

// What is kept of an operation between the passes, and in a pass.
typedef struct {
    vec *map;                // (blocks, outputs, pixels); AVERAGE: (blocks, outputs)
    float *weights;          // contiguous, in the order of their use
    spread *spreads;         // (blocks, outputs)
    norm_state norm;
    gate_state gates;        // of the first block; those of the next follow
    squeeze squeeze;
    // The backward pass. Gradients of maps are (blocks, largest map) and, of a convolution, behind its norm.
    vec *output_gradient;    // of the map as an output of the program; else NULL
    const vec *gradient;     // of the map
    long gradient_block;     // vectors from a block's gradient to the next one's
    int buffer;              // number of the buffer that has the gradient; -1: it is given
    const vec *added;        // a gradient of the input, which is added to that of this operation; or NULL
    long added_block;
    vec *result;             // gradient of the input; NULL: of no use, or the same as `gradient`
    const vec *of_shortcut;  // SUM: a gradient of the shortcut, to which that of the sum is added; or NULL
    long of_shortcut_block;
    vec *shortcut_result;
    gradient_sums *sums;     // (blocks, outputs)
    norm_gradient *norms;    // (threads, outputs)
    float *transposed;       // POINTWISE: weights (inputs, outputs)
    float *weight_gradients; // (threads, weights)
} state;

// A pass over a batch.
typedef struct {
    const operation *ops;
    int count, batch, blocks, threads;
    const int64_t *outputs;       // the numbers of the operations whose maps are the program's outputs
    int num_outputs;
    int keeps;                    // whether all maps are kept, for the backward pass
    float **values, **gradients;  // of the tensors; a gradient may be NULL
    const float *images;          // (batch, channels, height, width), and packed
    vec *packed_images;           // (blocks, channels, height, width)
    float **results;              // of the outputs (batch, channels, height, width): their maps, or the maps' gradients
    state *states;
    vec *scratch;
    size_t scratch_size;          // vectors of a thread
    char *memory;                 // when only its size is counted, any address
    size_t used;
    vec **buffers;                // of gradients of maps, at most 2 * count
    int *users;
    vec *weight_sums;             // of a thread, lane by lane
    size_t weight_sums_size;
    long largest;                 // vectors of the largest map of a block
    atomic_int arrived, generation, begun;
} run;

static int out_size(int64_t size, int64_t stride) { return (int)((size - 1) / stride + 1); }
static int in_pixels(const operation *o) { return (int)(o->height * o->width); }
static int out_pixels(const operation *o) { return out_size(o->height, o->stride) * out_size(o->width, o->stride); }
static int is_convolution(const operation *o) { return o->kind <= DEPTHWISE; }

static geometry geometry_of(const operation *o) {
    return (geometry){(int)o->height, (int)o->width, (int)o->kernel, (int)o->stride,
                      out_size(o->height, o->stride), out_size(o->width, o->stride)};
}

static long weights_of(const operation *o) {
    long taps = o->kernel * o->kernel;
    return o->kind == DEPTHWISE ? o->outputs * taps : o->outputs * o->inputs * taps;
}

// Floats of an image, and of an output of the program for an image.
static long image_size(const operation *ops) { return ops[0].inputs * in_pixels(ops); }
static long output_size(const operation *o) { return o->outputs * (o->kind == AVERAGE ? 1 : out_pixels(o)); }

static void *take(run *r, size_t bytes) {
    size_t at = r->used;
    r->used += (bytes + 63) / 64 * 64;
    return r->memory + at;
}

static float *take_floats(run *r, size_t count) { return take(r, count * sizeof(float)); }
static vec *take_vectors(run *r, size_t count) { return take(r, count * sizeof(vec)); }

static mask live_lanes(const run *r, int block) {
    int rest = r->batch - block * LANES;
    return first_lanes(rest < LANES ? rest : LANES);
}

static int live_count(const run *r, int block) {
    int rest = r->batch - block * LANES;
    return rest < LANES ? rest : LANES;
}

// Waits until all threads have come here.
static void wait_for_all(run *r) {
    if (r->threads == 1) return;
    int generation = atomic_load(&r->generation);
    if (atomic_fetch_add(&r->arrived, 1) == r->threads - 1) {
        atomic_store(&r->arrived, 0);
        atomic_fetch_add(&r->generation, 1);
        return;
    }
    for (int spins = 0; atomic_load(&r->generation) == generation; spins++)
        if (spins > 2000) sched_yield();
}

#endif
