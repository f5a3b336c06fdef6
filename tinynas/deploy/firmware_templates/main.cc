// Self test: runs the golden frames through preprocess() and the network in TensorFlow Lite Micro (TFLM), and prints
// PASS or FAIL. An application does the same with the frames of its camera, without golden.h and the comparisons.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "golden.h"
#include "model_config.h"
#include "model_data.h"
#include "ops_resolver.h"
#include "preprocess.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

constexpr int kTolerance = 1;  // steps of int8: optimized kernels may round differently

alignas(16) uint8_t arena[MODEL_ARENA_BYTES];

uint32_t Crc32(const int8_t* bytes, size_t count) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < count; i++) {
    crc ^= static_cast<uint8_t>(bytes[i]);
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

// Returns the largest difference of the network's outputs from the expected ones, which follow one another.
int LargestDifference(tflite::MicroInterpreter& interpreter, const int8_t* expected) {
  int largest = 0;
  for (size_t number = 0; number < interpreter.outputs_size(); number++) {
    const TfLiteTensor* output = interpreter.output(number);
    for (size_t i = 0; i < output->bytes; i++) {
      const int difference = std::abs(output->data.int8[i] - *expected++);
      if (difference > largest) largest = difference;
    }
  }
  return largest;
}

bool RunGoldenFrame(tflite::MicroInterpreter& interpreter, int number) {
  int8_t* input = interpreter.input(0)->data.int8;
  if (preprocess(kGoldenFrames[number], GOLDEN_WIDTH, GOLDEN_HEIGHT, GOLDEN_CHANNELS, input) != 0) {
    MicroPrintf("frame %d: too large, see preprocess.h", number);
    return false;
  }
  const bool same_input = Crc32(input, MODEL_INPUT_BYTES) == kGoldenInputChecksums[number];
  if (interpreter.Invoke() != kTfLiteOk) {
    MicroPrintf("frame %d: Invoke failed", number);
    return false;
  }
  const int difference = LargestDifference(interpreter, kGoldenOutputs[number]);
  MicroPrintf("frame %d: %s, outputs differ by at most %d step(s)", number,
              same_input ? "input as expected" : "WRONG INPUT", difference);
  return same_input && difference <= kTolerance;
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  ModelOpsResolver resolver;
  if (RegisterModelOps(resolver) != kTfLiteOk) {
    MicroPrintf("FAIL: an operator could not be registered");
    return 1;
  }
  tflite::MicroInterpreter interpreter(tflite::GetModel(kModelParts[0]), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    MicroPrintf("FAIL: AllocateTensors in an arena of %d bytes", static_cast<int>(sizeof(arena)));
    return 1;
  }
  MicroPrintf("arena: %d of %d bytes used", static_cast<int>(interpreter.arena_used_bytes()),
              static_cast<int>(sizeof(arena)));
  bool passed = true;
  for (int number = 0; number < GOLDEN_COUNT; number++) passed = RunGoldenFrame(interpreter, number) && passed;
  MicroPrintf(passed ? "PASS" : "FAIL");
  return passed ? 0 : 1;
}
