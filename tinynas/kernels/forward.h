// The forward pass.
#ifndef TINYNAS_FORWARD_H
#define TINYNAS_FORWARD_H

#include <math.h>

#include "tensors.h"

static size_t scratch_needed(const operation *o) {
    geometry s = geometry_of(o);
    size_t strip = (size_t)STRIP * (o->inputs + o->outputs + OUTER + INNER);
    if (o->kind == DENSE) return dense_scratch(&s, (int)o->inputs);
    if (o->kind == DEPTHWISE) return depthwise_scratch(&s);
    return strip;
}

// Memory of a map, which another map takes when the last operation that reads the first one is done.
typedef struct {
    vec *memory;
    size_t size;
    int last;  // the number of that operation
} slot;

// The number of the last operation that reads the map of operation i; an output's map is read after all of them.
static int last_reader(const run *r, int i) {
    int last = i;
    for (int k = 0; k < r->num_outputs; k++)
        if (r->outputs[k] == i) return r->count;
    for (int j = i + 1; j < r->count; j++)
        if (r->ops[j].input == i || r->ops[j].shortcut == i) last = j;
    return last;
}

// Takes memory for the map of operation i: new memory, or the smallest that is free. `slots`: (count), with size 0.
static vec *take_map(run *r, slot *slots, int i, size_t size) {
    if (r->keeps) return take_vectors(r, size);
    slot *best = NULL;
    for (slot *s = slots; s->size; s++)
        if (s->last < i && s->size >= size && (!best || s->size < best->size)) best = s;
    if (!best) {
        for (best = slots; best->size;) best++;
        *best = (slot){take_vectors(r, size), size, 0};
    }
    best->last = last_reader(r, i);
    return best->memory;
}

// Lays out what the forward pass keeps.
static void plan_forward(run *r) {
    slot slots[r->count + 1];
    memset(slots, 0, sizeof slots);
    r->packed_images = take_vectors(r, r->blocks * image_size(r->ops));
    for (int i = 0; i < r->count; i++) {
        const operation *o = r->ops + i;
        state *s = r->states + i;
        int pixels = o->kind == AVERAGE ? 1 : out_pixels(o);
        if (o->kind == GATE) {
            long size = o->inputs * 3 + o->outputs;
            vec *memory = take_vectors(r, r->blocks * size);
            s->gates = (gate_state){memory, memory + o->inputs, memory + o->inputs + o->outputs,
                                    memory + 2 * o->inputs + o->outputs};
            s->weights = take_floats(r, 2 * o->inputs * o->outputs + o->inputs + o->outputs);
        } else {
            s->map = take_map(r, slots, i, (size_t)r->blocks * o->outputs * pixels);
        }
        if (is_convolution(o)) {
            s->weights = take_floats(r, weights_of(o));
            s->spreads = take(r, sizeof(spread) * r->blocks * o->outputs);
            float *norm = take_floats(r, 4 * o->outputs);
            s->norm = (norm_state){norm, norm + o->outputs, norm + 2 * o->outputs, norm + 3 * o->outputs};
        }
        size_t scratch = scratch_needed(o);
        if (scratch > r->scratch_size) r->scratch_size = scratch;
    }
    r->scratch = take_vectors(r, r->scratch_size * r->threads);
}

static reader reader_of(const run *r, const operation *o, int block) {
    reader in = {.act = PLAIN};
    if (o->input < 0) {
        in.map = r->packed_images + block * image_size(r->ops);
        return in;
    }
    const operation *source = r->ops + o->input;
    const state *s = r->states + o->input;
    in.map = s->map + (long)block * source->outputs * out_pixels(source);
    if (is_convolution(source)) {
        in.scale = s->norm.scale;
        in.shift = s->norm.shift;
        in.act = (int)source->act;
    }
    if (o->gate >= 0) {
        const operation *gate = r->ops + o->gate;
        in.gate = r->states[o->gate].gates.gates + (long)block * (3 * gate->inputs + gate->outputs);
    }
    return in;
}

// The norm of channel c, given its mean and variance.
static void set_norm(const run *r, const operation *o, state *s, int c, double mean, double variance) {
    double inverse = 1 / sqrt(variance + o->eps);
    double scale = r->values[o->scale.tensor][o->scale.offset + c] * inverse;
    s->norm.scale[c] = (float)scale;
    s->norm.shift[c] = (float)(r->values[o->shift.tensor][o->shift.offset + c] - mean * scale);
    s->norm.means[c] = (float)mean;
    s->norm.deviations[c] = (float)inverse;
}

// The norm with running statistics.
static void set_running_norm(const run *r, const operation *o, state *s) {
    const float *means = r->values[o->mean.tensor] + o->mean.offset;
    const float *variances = r->values[o->variance.tensor] + o->variance.offset;
    for (int c = 0; c < o->outputs; c++) set_norm(r, o, s, c, means[c], variances[c]);
}

// Merges the blocks' statistics (Chan et al., 1979) into those of the batch, which the norm uses; `tracks`: updates the
// running statistics.
static void finish_norm(const run *r, const operation *o, state *s, int tracks) {
    int pixels = out_pixels(o);
    double momentum = o->momentum;
    if (tracks) {
        int64_t *updates = (int64_t *)r->values[o->updates.tensor] + o->updates.offset;
        *updates += 1;
        if (momentum < 0) momentum = 1.0 / (double)*updates;
    }
    for (int c = 0; c < o->outputs; c++) {
        double count = 0, mean = 0, deviations = 0;
        for (int b = 0; b < r->blocks; b++) {
            spread part = s->spreads[b * o->outputs + c];
            double size = (double)live_count(r, b) * pixels, total = count + size, delta = part.mean - mean;
            mean += delta * size / total;
            deviations += part.deviations + delta * delta * count * size / total;
            count = total;
        }
        set_norm(r, o, s, c, mean, deviations / count);
        if (tracks) {
            float *running_mean = r->values[o->mean.tensor] + o->mean.offset + c;
            float *running_variance = r->values[o->variance.tensor] + o->variance.offset + c;
            *running_mean += (float)(momentum * (mean - *running_mean));
            *running_variance += (float)(momentum * (deviations / (count - 1) - *running_variance));
        }
    }
}

// Runs an operation on one block.
static void forward_block(run *r, int i, int block, moments *stats, vec *scratch) {
    const operation *o = r->ops + i;
    state *s = r->states + i;
    reader in = reader_of(r, o, block);
    geometry g = geometry_of(o);
    int inputs = (int)o->inputs, outputs = (int)o->outputs, pixels = out_pixels(o);
    vec *out = s->map + (long)block * outputs * pixels;
    switch (o->kind) {
        case DENSE: dense_forward(&in, s->weights, out, stats, inputs, outputs, &g, scratch); break;
        case POINTWISE: pointwise_forward(&in, s->weights, out, stats, inputs, outputs, pixels, scratch); break;
        case DEPTHWISE: depthwise_forward(&in, s->weights, out, stats, outputs, &g, scratch); break;
        case SUM: {
            const vec *shortcut = o->shortcut < 0 ? NULL : r->states[o->shortcut].map + (long)block * outputs * pixels;
            sum_forward(&in, shortcut, out, outputs, pixels);
            break;
        }
        case UPSAMPLE: upsample_forward(in.map, out, outputs, (int)o->height, (int)o->width); break;
        case GATE: {
            long size = 3 * inputs + outputs, at = block * size;
            gate_state gates = {s->gates.pooled + at, s->gates.hidden + at, s->gates.logits + at, s->gates.gates + at};
            gate_forward(&in, &s->squeeze, &gates, in_pixels(o));
            break;
        }
        default: average(&in, NULL, s->map + (long)block * outputs, outputs, in_pixels(o));
    }
    if (is_convolution(o))
        for (int c = 0; c < outputs; c++)
            s->spreads[block * outputs + c] =
                finish_moments(stats + c, live_lanes(r, block), (double)live_count(r, block) * pixels);
}

// The blocks in rising order for even operations and in falling order for odd ones: those that the last operation has
// written at the end are still in the cache.
INLINE int turn(int k, int operation, int first, int end) { return operation % 2 ? first + end - 1 - k : k; }

static void pack_images(run *r, int block) {
    long size = image_size(r->ops);
    pack(r->images + block * LANES * size, live_count(r, block), size, r->packed_images + block * size);
}

// Copies the outputs of a block to the results of block number `to`.
static void unpack_outputs(const run *r, int block, int to) {
    for (int k = 0; k < r->num_outputs; k++) {
        int64_t output = r->outputs[k];
        long size = output_size(r->ops + output);
        unpack(r->states[output].map + block * size, live_count(r, block), size, r->results[k] + to * LANES * size);
    }
}

static void forward_pass(run *r, int thread, int tracks) {
    int first = r->blocks * thread / r->threads, end = r->blocks * (thread + 1) / r->threads;
    vec *scratch = r->scratch + r->scratch_size * thread;
    for (int b = first; b < end; b++) pack_images(r, b);
    for (int i = 0; i < r->count; i++) {
        const operation *o = r->ops + i;
        moments stats[is_convolution(o) ? o->outputs : 1];
        for (int k = first; k < end; k++) forward_block(r, i, turn(k, i, first, end), stats, scratch);
        if (is_convolution(o)) {
            wait_for_all(r);
            if (thread == 0) finish_norm(r, o, r->states + i, tracks);
        }
        // Before the norm is used, and before memory that this operation reads is taken for another map.
        if (is_convolution(o) || !r->keeps) wait_for_all(r);
    }
    for (int b = first; b < end; b++) unpack_outputs(r, b, b);
}

#endif
