/* Bilinear resizing with antialiasing, as PyTorch resizes 8-bit images on the CPU: along rows, then along columns,
   with weights of 16 bits. They are computed with integers alone, and so are the same on every chip. */
#include "preprocess.h"

#define INPUT_HEIGHT MODEL_INPUT_HEIGHT
#define INPUT_WIDTH MODEL_INPUT_WIDTH
#define DIVIDED_UP(a, b) (((a) + (b) - 1) / (b))

/* Source pixels that a resized pixel depends on at most. */
#if MODEL_STRETCH
#define COLUMN_TAPS (2 * DIVIDED_UP(PREPROCESS_MAX_WIDTH, MODEL_RESIZE_WIDTH))
#define ROW_TAPS (2 * DIVIDED_UP(PREPROCESS_MAX_HEIGHT, MODEL_RESIZE_HEIGHT))
#else /* both sides are resized by almost the same factor, the one that makes the frame less small */
#define VERTICAL_FACTOR DIVIDED_UP(PREPROCESS_MAX_HEIGHT, MODEL_RESIZE_HEIGHT - 1)
#define HORIZONTAL_FACTOR DIVIDED_UP(PREPROCESS_MAX_WIDTH, MODEL_RESIZE_WIDTH - 1)
#define COLUMN_TAPS (2 * (VERTICAL_FACTOR < HORIZONTAL_FACTOR ? VERTICAL_FACTOR : HORIZONTAL_FACTOR))
#define ROW_TAPS COLUMN_TAPS
#endif

/* A side of the frame, and what it is resized to. */
typedef struct {
  int32_t source;    /* pixels of the frame */
  int32_t resized;   /* pixels after resizing */
  int32_t cropped;   /* first of the resized pixels that the network sees */
  int precision;     /* bits after the binary point of the weights */
} Side;

/* The source pixels that a resized pixel is the weighted mean of. */
typedef struct {
  int32_t first;
  int32_t count;
} Taps;

static Taps column_taps[INPUT_WIDTH];
static int16_t column_weights[INPUT_WIDTH][COLUMN_TAPS];
static uint8_t rows[ROW_TAPS][INPUT_WIDTH * MODEL_INPUT_CHANNELS]; /* resized; row r is in rows[r % ROW_TAPS] */

/* Positions and distances are in units of 1 / (2 * resized) source pixels, which makes them whole numbers. */

/* Distance from which on a source pixel has no weight. */
static int64_t support(const Side *side) {
  return 2 * (side->source > side->resized ? side->source : side->resized);
}

static Taps taps_of(const Side *side, int32_t pixel) {
  const int64_t step = 2 * side->resized;
  const int64_t centre = (2 * pixel + 1) * (int64_t)side->source;
  const int64_t before = centre - support(side) - side->resized;
  const int64_t end = DIVIDED_UP(centre + support(side) - side->resized, step);
  Taps taps;
  taps.first = before < 0 ? 0 : (int32_t)(before / step) + 1;
  taps.count = (end < side->source ? (int32_t)end : side->source) - taps.first;
  return taps;
}

/* Returns the weight of a source pixel, to be divided by the sum of all weights of the resized pixel. */
static uint64_t weight_of(const Side *side, int32_t pixel, int32_t source_pixel) {
  const int64_t position = (2 * source_pixel + 1) * (int64_t)side->resized;
  const int64_t centre = (2 * pixel + 1) * (int64_t)side->source;
  return (uint64_t)(support(side) - (position < centre ? centre - position : position - centre));
}

static uint64_t sum_of_weights(const Side *side, int32_t pixel, Taps taps) {
  uint64_t sum = 0;
  for (int32_t i = 0; i < taps.count; i++) sum += weight_of(side, pixel, taps.first + i);
  return sum;
}

/* Returns the most bits after the binary point with which all weights of a resized pixel fit into 16 bits. */
static int precision_of(const Side *side, int32_t pixel) {
  const Taps taps = taps_of(side, pixel);
  const uint64_t sum = sum_of_weights(side, pixel, taps);
  uint64_t largest = 0;
  int precision = 0;
  for (int32_t i = 0; i < taps.count; i++) {
    const uint64_t weight = weight_of(side, pixel, taps.first + i);
    if (weight > largest) largest = weight;
  }
  while (precision < 22 && sum + (largest << (precision + 2)) < (sum << 16)) precision++;
  return precision;
}

static void fill_weights(const Side *side, int32_t pixel, Taps taps, int16_t *weights) {
  const uint64_t sum = sum_of_weights(side, pixel, taps);
  for (int32_t i = 0; i < taps.count; i++) {
    const uint64_t weight = weight_of(side, pixel, taps.first + i);
    weights[i] = (int16_t)((sum + (weight << (side->precision + 1))) / (2 * sum));
  }
}

/* Half of the pixels that are cut off, rounded to even. */
static int32_t cut_off(int32_t pixels) {
  return pixels % 4 == 3 ? pixels / 2 + 1 : pixels / 2;
}

static Side side_of(int32_t source, int32_t resized, int32_t seen) {
  Side side;
  side.source = source;
  side.resized = resized;
  side.cropped = cut_off(resized - seen);
  side.precision = 22;
  for (int32_t pixel = 0; pixel < side.resized; pixel++) {
    const int precision = precision_of(&side, pixel);
    if (precision < side.precision) side.precision = precision;
  }
  return side;
}

static uint8_t rounded(int32_t sum, int precision) {
  const int32_t value = sum >> precision;
  return (uint8_t)(value > 255 ? 255 : value);
}

static int32_t grey(const uint8_t *pixel) {
  return (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 32768) >> 16;
}

/* Resizes a row of the frame to INPUT_WIDTH pixels; a colour frame becomes grey first if the network takes grey. */
static void resize_row(const uint8_t *row, int channels, int precision, uint8_t *resized) {
  const int to_grey = channels > MODEL_INPUT_CHANNELS, planes = to_grey ? 1 : channels;
  for (int32_t x = 0; x < INPUT_WIDTH; x++) {
    for (int c = 0; c < planes; c++) {
      const uint8_t *pixel = row + column_taps[x].first * channels + c;
      int32_t sum = (1 << precision) >> 1;
      for (int32_t i = 0; i < column_taps[x].count; i++, pixel += channels)
        sum += column_weights[x][i] * (to_grey ? grey(pixel) : *pixel);
      resized[x * planes + c] = rounded(sum, precision);
    }
  }
}

/* Makes a row of the input from rows in memory; a grey pixel serves for all channels of the network. */
static void finish_row(const uint8_t *const *sources, const int16_t *weights, int32_t count, int planes, int precision,
                       int8_t *input) {
  for (int32_t x = 0; x < INPUT_WIDTH; x++) {
    for (int c = 0; c < MODEL_INPUT_CHANNELS; c++) {
      const int32_t position = planes == 1 ? x : x * planes + c;
      int32_t sum = (1 << precision) >> 1;
      for (int32_t i = 0; i < count; i++) sum += weights[i] * sources[i][position];
      *input++ = kModelQuantized[c][rounded(sum, precision)];
    }
  }
}

int preprocess(const uint8_t *frame, int width, int height, int channels, int8_t *input) {
  const int planes = channels < MODEL_INPUT_CHANNELS ? channels : MODEL_INPUT_CHANNELS;
  int32_t next_row = 0, resized_width = MODEL_RESIZE_WIDTH, resized_height = MODEL_RESIZE_HEIGHT;
  Side horizontal, vertical;
  if ((channels != 1 && channels != 3) || width < 1 || height < 1) return -1;
  if (width > PREPROCESS_MAX_WIDTH || height > PREPROCESS_MAX_HEIGHT) return -1;
  if (!MODEL_STRETCH && INPUT_HEIGHT * width >= INPUT_WIDTH * height) /* the network sees all rows, but for the crop */
    resized_width = resized_height * width / height;
  else if (!MODEL_STRETCH)
    resized_height = resized_width * height / width;
  horizontal = side_of(width, resized_width, INPUT_WIDTH);
  vertical = side_of(height, resized_height, INPUT_HEIGHT);
  for (int32_t x = 0; x < INPUT_WIDTH; x++) {
    column_taps[x] = taps_of(&horizontal, horizontal.cropped + x);
    fill_weights(&horizontal, horizontal.cropped + x, column_taps[x], column_weights[x]);
  }
  for (int32_t y = 0; y < INPUT_HEIGHT; y++) {
    const Taps taps = taps_of(&vertical, vertical.cropped + y);
    const uint8_t *sources[ROW_TAPS];
    int16_t weights[ROW_TAPS];
    fill_weights(&vertical, vertical.cropped + y, taps, weights);
    if (next_row < taps.first) next_row = taps.first;
    for (; next_row < taps.first + taps.count; next_row++)
      resize_row(frame + next_row * width * channels, channels, horizontal.precision, rows[next_row % ROW_TAPS]);
    for (int32_t i = 0; i < taps.count; i++) sources[i] = rows[(taps.first + i) % ROW_TAPS];
    finish_row(sources, weights, taps.count, planes, vertical.precision, input + y * INPUT_WIDTH * MODEL_INPUT_CHANNELS);
  }
  return 0;
}
