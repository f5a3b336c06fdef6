/* From a camera's frame to the network's input, as the network was evaluated: the same bytes, without floats. */
#ifndef PREPROCESS_H_
#define PREPROCESS_H_

#include <stdint.h>

#include "model_config.h"

/* Largest frame in pixels. Static buffers grow with it; define another one for the compiler. */
#ifndef PREPROCESS_MAX_WIDTH
#define PREPROCESS_MAX_WIDTH 640
#endif
#ifndef PREPROCESS_MAX_HEIGHT
#define PREPROCESS_MAX_HEIGHT 480
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Fills the network's input, MODEL_INPUT_BYTES bytes, from a frame.

   frame: rows from top to bottom of pixels from left to right, without padding: 3 bytes (red, green, blue) or 1 (grey).
   channels: 3 or 1; the network need not have as many.

   Returns 0, or -1 if the frame is larger than the largest one, or has other channels. Not reentrant. */
int preprocess(const uint8_t *frame, int width, int height, int channels, int8_t *input);

#ifdef __cplusplus
}
#endif

#endif
