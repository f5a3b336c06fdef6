// Self test: runs the golden frames through preprocess() and the network's parts in TensorFlow Lite Micro (TFLM), each
// frame until it exits, and prints PASS or FAIL. An application calls Classify() for the frames of its camera.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

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
constexpr int kFailed = -1;

alignas(16) uint8_t arena[MODEL_ARENA_BYTES];  // of one part after the other
int8_t carried[MODEL_CARRIED_BYTES];           // the image, then what a part carries over to the next
ModelOpsResolver resolver;

// Runs a part on what is in `carried`, and leaves there what the next part takes.
bool RunPart(int part, int8_t* logits) {
  tflite::MicroInterpreter interpreter(tflite::GetModel(kModelParts[part]), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return false;
  const int8_t* source = carried;
  for (size_t number = 0; number < interpreter.inputs_size(); number++) {
    TfLiteTensor* input = interpreter.input(number);
    std::memcpy(input->data.int8, source, input->bytes);
    source += input->bytes;
  }
  if (interpreter.Invoke() != kTfLiteOk) return false;
  std::memcpy(logits, interpreter.output(0)->data.int8, MODEL_NUM_CLASSES);
  int8_t* target = carried;
  for (size_t number = 1; number < interpreter.outputs_size(); number++) {
    const TfLiteTensor* output = interpreter.output(number);
    std::memcpy(target, output->data.int8, output->bytes);
    target += output->bytes;
  }
  MicroPrintf("part %d: %d of %d bytes of the arena used", part, static_cast<int>(interpreter.arena_used_bytes()),
              static_cast<int>(sizeof(arena)));
  return true;
}

// Returns the largest softmax of a part's logits at its temperature.
float Confidence(int part, const int8_t* logits) {
  int largest = INT8_MIN;
  for (int i = 0; i < MODEL_NUM_CLASSES; i++) largest = logits[i] > largest ? logits[i] : largest;
  const float factor = kModelOutputs[part].scale / kModelTemperatures[part];
  float sum = 0;
  for (int i = 0; i < MODEL_NUM_CLASSES; i++) sum += std::exp(factor * static_cast<float>(logits[i] - largest));
  return 1 / sum;
}

// Classifies the image in `carried`; returns the number of the part after which it exits, whose logits count.
int Classify(int8_t logits[MODEL_NUM_PARTS][MODEL_NUM_CLASSES]) {
  for (int part = 0; part < MODEL_NUM_PARTS; part++) {
    if (!RunPart(part, logits[part])) return kFailed;
    if (part + 1 == MODEL_NUM_PARTS || Confidence(part, logits[part]) >= kModelThresholds[part]) return part;
  }
  return kFailed;
}

uint32_t Crc32(const int8_t* bytes, size_t count) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < count; i++) {
    crc ^= static_cast<uint8_t>(bytes[i]);
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

int LargestDifference(const int8_t* values, const int8_t* expected, int count) {
  int largest = 0;
  for (int i = 0; i < count; i++) {
    const int difference = std::abs(values[i] - expected[i]);
    if (difference > largest) largest = difference;
  }
  return largest;
}

bool RunGoldenFrame(int number) {
  static int8_t logits[MODEL_NUM_PARTS][MODEL_NUM_CLASSES];
  if (preprocess(kGoldenFrames[number], GOLDEN_WIDTH, GOLDEN_HEIGHT, GOLDEN_CHANNELS, carried) != 0) {
    MicroPrintf("frame %d: too large, see preprocess.h", number);
    return false;
  }
  const bool same_input = Crc32(carried, MODEL_INPUT_BYTES) == kGoldenInputChecksums[number];
  const int exit = Classify(logits);
  if (exit == kFailed) {
    MicroPrintf("frame %d: a part failed", number);
    return false;
  }
  const int difference = LargestDifference(logits[0], kGoldenOutputs[number], (exit + 1) * MODEL_NUM_CLASSES);
  MicroPrintf("frame %d: %s, exits after part %d (expected: %d), outputs differ by at most %d step(s)", number,
              same_input ? "input as expected" : "WRONG INPUT", exit, kGoldenExits[number], difference);
  return same_input && difference <= kTolerance && (exit == kGoldenExits[number] || difference > 0);
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  if (RegisterModelOps(resolver) != kTfLiteOk) {
    MicroPrintf("FAIL: an operator could not be registered");
    return 1;
  }
  bool passed = true;
  for (int number = 0; number < GOLDEN_COUNT; number++) passed = RunGoldenFrame(number) && passed;
  MicroPrintf(passed ? "PASS" : "FAIL");
  return passed ? 0 : 1;
}
