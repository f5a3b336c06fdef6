// Compares program.c with plain loops in double: outputs, running statistics, and gradients by central differences.
//
// The network has every kind of operation and activation, odd sizes, and weights that are parts of larger tensors, as a
// supernet's are. Memory is filled with NaN beforehand, so that what is read before it is written shows.
// Compile it with -I and the folder of program.c. It prints what differs, and returns 1 then.
#include <stdio.h>
#include <stdlib.h>

#include "program.c"

enum { MAX_TENSORS = 128, MAX_BATCH = 37, IMAGE_CHANNELS = 3, HEIGHT = 13, WIDTH = 17, UPDATES = 3 };
enum { STEM, FIRST, EXPANDED, FILTERED, GATES, PROJECTED, SECOND, EXPANDED_2, FILTERED_2, PROJECTED_2, THIRD,
       LATERAL, UPSAMPLED, MERGED, EXPANDED_3, FILTERED_3, LAST, AVERAGES, COUNT };

static operation ops[COUNT];
static const int64_t outputs[] = {AVERAGES, FIRST, SECOND, MERGED};  // of which FIRST and SECOND are read by other operations, too
enum { OUTPUTS = sizeof outputs / sizeof *outputs };

static int num_tensors, num_errors, batch;
static float *values[MAX_TENSORS], *gradients[MAX_TENSORS];
static double *exact[MAX_TENSORS];         // the values, for the reference
static size_t sizes[MAX_TENSORS];          // 0: a counter
static char *is_used[MAX_TENSORS];         // by the program, and trained; NULL: not trained
static float images[MAX_BATCH * IMAGE_CHANNELS * HEIGHT * WIDTH];
static float *output_gradients[OUTPUTS];   // (batch, channels, pixels)

static double random_between(double low, double high) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(state >> 40) / (1 << 24);
}

static void *allocate(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) abort();
    return memset(memory, 255, size);
}

// The program that is checked.

static part new_tensor(size_t size, double low, double high) {
    int t = num_tensors++;
    sizes[t] = size;
    values[t] = malloc(size * sizeof(float));
    exact[t] = malloc(size * sizeof(double));
    gradients[t] = malloc(size * sizeof(float));
    for (size_t k = 0; k < size; k++) values[t][k] = (float)random_between(low, high);
    return (part){.tensor = t, .strides = {1}};
}

static part new_vector(int count, double low, double high) {
    part p = new_tensor(count, low, high);
    is_used[p.tensor] = memset(malloc(count), 1, count);
    return p;
}

// The part (a, b, kernel, kernel) of a new tensor that is larger by 1 in a, 2 in b, and all around in the kernel.
static part new_weight(int a, int b, int kernel, double size) {
    int wide = kernel + 2;
    part p = new_tensor((size_t)(a + 1) * (b + 2) * wide * wide, -size, size);
    p.offset = wide + 1;
    p.strides[0] = (b + 2) * wide * wide;
    p.strides[1] = wide * wide;
    p.strides[2] = wide;
    p.strides[3] = 1;
    is_used[p.tensor] = calloc(sizes[p.tensor], 1);
    for (int c = 0; c < a; c++)
        for (int d = 0; d < b; d++)
            for (int y = 1; y <= kernel; y++)
                for (int x = 1; x <= kernel; x++) is_used[p.tensor][((c * (b + 2) + d) * wide + y) * wide + x] = 1;
    return p;
}

static part new_counter(int64_t count) {
    int t = num_tensors++;
    values[t] = malloc(sizeof count);
    memcpy(values[t], &count, sizeof count);
    return (part){.tensor = t};
}

static operation reading(int kind, int input, int inputs, int channels, int height, int width) {
    operation o = {.kind = kind, .input = input, .shortcut = -1, .gate = -1, .inputs = inputs, .outputs = channels};
    o.height = height;
    o.width = width;
    o.kernel = o.stride = 1;
    return o;
}

static operation convolution(int kind, int act, int input, int inputs, int channels, int kernel, int stride, int height,
                             int width) {
    operation o = reading(kind, input, inputs, channels, height, width);
    o.act = act;
    o.kernel = kernel;
    o.stride = stride;
    o.weight = new_weight(channels, kind == DEPTHWISE ? 1 : inputs, kernel, 1);
    o.scale = new_vector(channels, 1, act == RELU6 ? 6 : 2);  // many values beyond 6, or below -3 and above 3
    o.shift = new_vector(channels, -1, 1);
    o.mean = new_tensor(channels, -1, 1);
    o.variance = new_tensor(channels, 0.5, 2);
    o.updates = new_counter(UPDATES);
    o.eps = 1e-5;
    o.momentum = kernel == 1 ? 0.1 : -1;
    return o;
}

static void make_program(void) {
    ops[STEM] = convolution(DENSE, HSWISH, -1, IMAGE_CHANNELS, 5, 3, 2, 13, 17);
    ops[FIRST] = reading(SUM, STEM, 5, 5, 7, 9);
    ops[EXPANDED] = convolution(POINTWISE, RELU6, FIRST, 5, 13, 1, 1, 7, 9);
    ops[FILTERED] = convolution(DEPTHWISE, HSWISH, EXPANDED, 13, 13, 3, 1, 7, 9);
    ops[GATES] = reading(GATE, FILTERED, 13, 3, 7, 9);
    ops[GATES].weight = new_weight(3, 13, 1, 2);
    ops[GATES].shift = new_vector(3, -1, 1);
    ops[GATES].expand = new_weight(13, 3, 1, 4);  // gates of 0 and 1 as well
    ops[GATES].expand_shift = new_vector(13, -2, 2);
    ops[PROJECTED] = convolution(POINTWISE, LINEAR, FILTERED, 13, 5, 1, 1, 7, 9);
    ops[PROJECTED].gate = GATES;
    ops[SECOND] = reading(SUM, PROJECTED, 5, 5, 7, 9);
    ops[SECOND].shortcut = FIRST;
    ops[EXPANDED_2] = convolution(POINTWISE, RELU, SECOND, 5, 6, 1, 1, 7, 9);
    ops[FILTERED_2] = convolution(DEPTHWISE, RELU, EXPANDED_2, 6, 6, 5, 2, 7, 9);
    ops[PROJECTED_2] = convolution(POINTWISE, LINEAR, FILTERED_2, 6, 7, 1, 1, 4, 5);
    ops[THIRD] = reading(SUM, PROJECTED_2, 7, 7, 4, 5);
    ops[LATERAL] = convolution(POINTWISE, RELU6, SECOND, 5, 7, 1, 1, 7, 9);
    ops[UPSAMPLED] = reading(UPSAMPLE, THIRD, 7, 7, 7, 9);
    ops[MERGED] = reading(SUM, LATERAL, 7, 7, 7, 9);
    ops[MERGED].shortcut = UPSAMPLED;
    ops[EXPANDED_3] = convolution(POINTWISE, HSWISH, THIRD, 7, 11, 1, 1, 4, 5);
    ops[FILTERED_3] = convolution(DEPTHWISE, RELU, EXPANDED_3, 11, 11, 7, 2, 4, 5);
    ops[LAST] = convolution(DEPTHWISE, HSWISH, FILTERED_3, 11, 11, 9, 1, 2, 3);  // not a kernel of the search spaces
    ops[AVERAGES] = reading(AVERAGE, LAST, 11, 11, 2, 3);
}

// The reference.

// (batch, channels, pixels), those of convolutions after norm and activation; GATE: (batch, channels)
static double *maps[COUNT];

static int map_pixels(int i) { return ops[i].kind == AVERAGE || ops[i].kind == GATE ? 1 : out_pixels(ops + i); }
static int map_channels(int i) { return (int)(ops[i].kind == GATE ? ops[i].inputs : ops[i].outputs); }

static double weight_at(const part *p, int a, int b, int y, int x) {
    return exact[p->tensor][p->offset + a * p->strides[0] + b * p->strides[1] + y * p->strides[2] + x * p->strides[3]];
}

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double exact_activation(double z, int64_t act) {
    if (act == RELU) return clamp(z, 0, INFINITY);
    if (act == RELU6) return clamp(z, 0, 6);
    return act == HSWISH ? z * clamp(z + 3, 0, 6) / 6 : z;
}

// What an operation reads of image n, channel c, row h and column w; 0 outside.
static double input_at(const operation *o, int n, int c, int h, int w) {
    if (h < 0 || w < 0 || h >= o->height || w >= o->width) return 0;
    long at = (((long)n * o->inputs + c) * o->height + h) * o->width + w;
    double x = o->input < 0 ? images[at] : maps[o->input][at];
    return o->gate < 0 ? x : x * maps[o->gate][n * o->inputs + c];
}

static double mean_of_input(const operation *o, int n, int c) {
    double sum = 0;
    for (int h = 0; h < o->height; h++)
        for (int w = 0; w < o->width; w++) sum += input_at(o, n, c, h, w);
    return sum / in_pixels(o);
}

static double convolve_at(const operation *o, int n, int c, int h, int w) {
    double sum = 0;
    int pad = (int)o->kernel / 2, depth = o->kind == DEPTHWISE ? 1 : (int)o->inputs;
    for (int d = 0; d < depth; d++)
        for (int y = 0; y < o->kernel; y++)
            for (int x = 0; x < o->kernel; x++)
                sum += weight_at(&o->weight, c, d, y, x) * input_at(o, n, o->kind == DEPTHWISE ? c : d,
                                                                    h * (int)o->stride + y - pad,
                                                                    w * (int)o->stride + x - pad);
    return sum;
}

// Norm and activation of a convolution's map; `running`: with running statistics, which are updated otherwise.
static void normalise(int i, int running) {
    const operation *o = ops + i;
    int pixels = map_pixels(i);
    double count = (double)batch * pixels, momentum = o->momentum < 0 ? 1.0 / (UPDATES + 1) : o->momentum;
    for (int c = 0; c < o->outputs; c++) {
        double mean = 0, variance = 0, *y = maps[i] + c * pixels;
        long step = o->outputs * pixels;
        for (int n = 0; n < batch; n++)
            for (int p = 0; p < pixels; p++) mean += y[n * step + p] / count;
        for (int n = 0; n < batch; n++)
            for (int p = 0; p < pixels; p++) variance += pow(y[n * step + p] - mean, 2) / count;
        double *running_mean = exact[o->mean.tensor] + c, *running_variance = exact[o->variance.tensor] + c;
        if (running) {
            mean = *running_mean;
            variance = *running_variance;
        } else {
            *running_mean += momentum * (mean - *running_mean);
            *running_variance += momentum * (variance * count / (count - 1) - *running_variance);
        }
        double scale = exact[o->scale.tensor][c] / sqrt(variance + o->eps), shift = exact[o->shift.tensor][c];
        for (int n = 0; n < batch; n++)
            for (int p = 0; p < pixels; p++)
                y[n * step + p] = exact_activation((y[n * step + p] - mean) * scale + shift, o->act);
    }
}

static void compute_gates(int i) {
    const operation *o = ops + i;
    for (int n = 0; n < batch; n++) {
        double logits[o->inputs];
        for (int c = 0; c < o->inputs; c++) logits[c] = exact[o->expand_shift.tensor][c];
        for (int h = 0; h < o->outputs; h++) {
            double hidden = exact[o->shift.tensor][h];
            for (int c = 0; c < o->inputs; c++) hidden += weight_at(&o->weight, h, c, 0, 0) * mean_of_input(o, n, c);
            for (int c = 0; c < o->inputs; c++)
                logits[c] += weight_at(&o->expand, c, h, 0, 0) * exact_activation(hidden, RELU);
        }
        for (int c = 0; c < o->inputs; c++) maps[i][n * o->inputs + c] = clamp(logits[c] + 3, 0, 6) / 6;
    }
}

static double value_at(const operation *o, int n, int c, int h, int w) {
    if (is_convolution(o)) return convolve_at(o, n, c, h, w);
    if (o->kind == AVERAGE) return mean_of_input(o, n, c);
    if (o->kind == UPSAMPLE) {
        long low = (o->height + 1) / 2, narrow = (o->width + 1) / 2;
        return maps[o->input][((n * o->outputs + c) * low + h / 2) * narrow + w / 2];
    }
    long at = (((long)n * o->outputs + c) * o->height + h) * o->width + w;
    return input_at(o, n, c, h, w) + (o->shortcut < 0 ? 0 : maps[o->shortcut][at]);
}

static long output_values(int k) {
    return (long)batch * map_channels((int)outputs[k]) * map_pixels((int)outputs[k]);
}

// Computes all maps; returns the sum of the outputs times their gradients.
static double reference(int running) {
    for (int i = 0; i < COUNT; i++) {
        int channels = map_channels(i), pixels = map_pixels(i);
        int width = pixels == 1 ? 1 : out_size(ops[i].width, ops[i].stride);
        if (ops[i].kind == GATE) {
            compute_gates(i);
            continue;
        }
        for (int n = 0; n < batch; n++)
            for (int c = 0; c < channels; c++)
                for (int p = 0; p < pixels; p++)
                    maps[i][((long)n * channels + c) * pixels + p] = value_at(ops + i, n, c, p / width, p % width);
        if (is_convolution(ops + i)) normalise(i, running);
    }
    double sum = 0;
    for (int k = 0; k < OUTPUTS; k++)
        for (long at = 0; at < output_values(k); at++) sum += output_gradients[k][at] * maps[outputs[k]][at];
    return sum;
}

static void restore_exact(void) {
    for (int t = 0; t < num_tensors; t++)
        for (size_t k = 0; k < sizes[t]; k++) exact[t][k] = values[t][k];
}

static double central_difference(int t, size_t k) {
    double step = 1e-8;  // so small that hardly any value crosses a bend of its activation
    restore_exact();
    exact[t][k] = values[t][k] + step;
    double above = reference(0);
    exact[t][k] = values[t][k] - step;
    return (above - reference(0)) / (2 * step);
}

// The checks.

static void check(const char *what, long place, double got, double expected, double tolerance) {
    if (fabs(got - expected) <= tolerance) return;  // not so for NaN
    if (num_errors++ < 20) printf("%s at %ld: %g instead of %g\n", what, place, got, expected);
}

// Memory for the outputs, of their exact sizes: a sanitizer sees what is written behind them.
static void allocate_outputs(float *results[OUTPUTS]) {
    for (int k = 0; k < OUTPUTS; k++) results[k] = allocate(output_values(k) * sizeof(float));
}

static void free_outputs(float *results[OUTPUTS]) {
    for (int k = 0; k < OUTPUTS; k++) free(results[k]);
}

static void check_outputs(const char *what, float *const results[OUTPUTS]) {
    for (int k = 0; k < OUTPUTS; k++) {
        double tolerance = outputs[k] == MERGED ? 2e-4 : 1e-4;  // what is merged is behind large values that cancel
        for (long at = 0; at < output_values(k); at++) {
            double expected = maps[outputs[k]][at];
            check(what, at, results[k][at], expected, tolerance * (1 + fabs(expected)));
        }
    }
}

static void check_evaluation(int threads) {
    restore_exact();
    reference(1);
    float *results[OUTPUTS];
    void *memory = allocate(evaluation_size(ops, COUNT, threads, outputs, OUTPUTS));
    allocate_outputs(results);
    evaluate(ops, COUNT, batch, threads, values, images, memory, outputs, results, OUTPUTS);
    check_outputs("evaluation", results);
    free_outputs(results);
    free(memory);
}

// Runs both passes; the tensor `frozen` is not trained.
static void check_training(int threads, int frozen, double *const *expected) {
    float *results[OUTPUTS], *trained[MAX_TENSORS] = {0};
    void *kept = allocate(forward_size(ops, COUNT, batch, threads, 1, outputs, OUTPUTS));
    void *memory = allocate(backward_size(ops, COUNT, batch, threads, outputs, OUTPUTS));
    allocate_outputs(results);
    forward(ops, COUNT, batch, threads, values, images, 0, 1, kept, outputs, results, OUTPUTS);
    restore_exact();
    reference(0);
    check_outputs("output", results);
    for (int t = 0; t < num_tensors; t++) {
        if (t != frozen && is_used[t]) trained[t] = gradients[t];
        for (size_t k = 0; k < sizes[t]; k++) gradients[t][k] = 0.25f;  // which the gradients are added to
    }
    backward(ops, COUNT, batch, threads, values, trained, kept, memory, outputs, output_gradients, OUTPUTS);
    for (int t = 0; t < num_tensors; t++) {
        double largest = 1;
        for (size_t k = 0; trained[t] && k < sizes[t]; k++) largest = fmax(largest, fabs(expected[t][k]));
        for (size_t k = 0; trained[t] && k < sizes[t]; k++)
            if (!is_used[t][k])
                check("gradient outside", t, gradients[t][k], 0.25, 0);
            else if (expected[t][k] != 0)
                check("gradient", t, gradients[t][k] - 0.25, expected[t][k], 2e-4 * largest);
    }
    free_outputs(results);
    free(memory);
    free(kept);
}

static void check_running_statistics(void) {
    restore_exact();
    reference(0);
    float *results[OUTPUTS];
    void *kept = allocate(forward_size(ops, COUNT, batch, 2, 1, outputs, OUTPUTS));
    allocate_outputs(results);
    forward(ops, COUNT, batch, 2, values, images, 1, 1, kept, outputs, results, OUTPUTS);
    for (int t = 0; t < num_tensors; t++)
        for (size_t k = 0; k < sizes[t]; k++)
            check("value afterwards", t, values[t][k], exact[t][k], 1e-4 * (1 + fabs(exact[t][k])));
    for (int i = 0; i < COUNT; i++) {
        int64_t updates;
        if (!is_convolution(ops + i)) continue;
        memcpy(&updates, values[ops[i].updates.tensor], sizeof updates);
        check("updates", i, (double)updates, UPDATES + 1, 0);
    }
    free_outputs(results);
    free(kept);
}

// A value that is not finite reaches the averages of all images through the norms, and all gradients.
static void check_non_finite(float value) {
    images[3] = value;
    float *results[OUTPUTS];
    void *kept = allocate(forward_size(ops, COUNT, batch, 1, 1, outputs, OUTPUTS));
    allocate_outputs(results);
    forward(ops, COUNT, batch, 1, values, images, 0, 1, kept, outputs, results, OUTPUTS);
    for (long at = 0; at < output_values(0); at++)
        if (isfinite(results[0][at])) check("finite average", at, results[0][at], NAN, 0);
    free_outputs(results);
    free(kept);
}

// The gradients of up to 4 elements of each tensor; 0 for the others.
static void differentiate(double **expected) {
    for (int t = 0; t < num_tensors; t++) {
        expected[t] = calloc(sizes[t] + 1, sizeof(double));
        size_t used = 0, count = 0;
        for (size_t k = 0; is_used[t] && k < sizes[t]; k++) used += is_used[t][k];
        for (size_t k = 0; is_used[t] && k < sizes[t]; k++)
            if (is_used[t][k] && count++ % ((used + 3) / 4) == 0) expected[t][k] = central_difference(t, k);
    }
}

static void set_batch(int images_in_batch) {
    batch = images_in_batch;
    for (size_t k = 0; k < sizeof images / sizeof *images; k++) images[k] = (float)random_between(-2, 2);
    for (int i = 0; i < COUNT; i++) {
        free(maps[i]);
        maps[i] = calloc((size_t)batch * map_channels(i) * map_pixels(i), sizeof(double));
    }
    for (int k = 0; k < OUTPUTS; k++) {
        free(output_gradients[k]);
        output_gradients[k] = malloc(output_values(k) * sizeof(float));
        for (long at = 0; at < output_values(k); at++) output_gradients[k][at] = (float)random_between(-1, 1);
    }
}

int main(void) {
    const int batches[] = {1, 5, 37};  // no multiples of LANES
    make_program();
    for (int b = 0; b < 3; b++) {
        double *expected[MAX_TENSORS];
        set_batch(batches[b]);
        differentiate(expected);
        for (int threads = 1; threads <= 3; threads++) {
            check_training(threads, threads == 3 ? (int)ops[FILTERED].weight.tensor : -1, expected);
            check_evaluation(threads);
        }
        for (int t = 0; t < num_tensors; t++) free(expected[t]);
    }
    check_running_statistics();
    check_non_finite(NAN);
    check_non_finite(INFINITY);
    printf("%d lanes, %d errors\n", LANES, num_errors);
    return num_errors > 0;
}
