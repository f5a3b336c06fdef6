// tflm_runner MODEL INPUT OUTPUT ARENA_BYTES
// Runs an int8 TFLite file in TensorFlow Lite Micro, in an arena of this size; prints "used BYTES" of the arena.
// INPUT and OUTPUT are the raw bytes of all inputs and of all outputs, one after another. Exit code 3: the arena is too
// small. target.py --runner and --cmsis-runner take the program; docs/results/target.md says how it was built.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

// Reads a file to a multiple of 16 bytes, as a model in flash lies.
char* ReadFile(const char* name) {
  FILE* file = fopen(name, "rb");
  if (file == nullptr) {
    printf("cannot read %s\n", name);
    exit(2);
  }
  std::vector<char> content;
  char block[4096];
  size_t count;
  while ((count = fread(block, 1, sizeof block, file)) > 0) {
    content.insert(content.end(), block, block + count);
  }
  fclose(file);
  char* aligned = static_cast<char*>(aligned_alloc(16, (content.size() + 15) / 16 * 16));
  memcpy(aligned, content.data(), content.size());
  return aligned;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  tflite::InitializeTarget();
  const tflite::Model* model = tflite::GetModel(ReadFile(argv[1]));
  const size_t arena_bytes = strtoul(argv[4], nullptr, 10);
  uint8_t* arena = static_cast<uint8_t*>(aligned_alloc(16, (arena_bytes + 15) / 16 * 16));

  tflite::MicroMutableOpResolver<8> operators;
  operators.AddConv2D();
  operators.AddDepthwiseConv2D();
  operators.AddFullyConnected();
  operators.AddAdd();
  operators.AddMul();
  operators.AddMean();
  operators.AddHardSwish();
  operators.AddResizeNearestNeighbor();

  tflite::MicroInterpreter interpreter(model, operators, arena, arena_bytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 3;
  const char* input = ReadFile(argv[2]);
  for (size_t i = 0; i < interpreter.inputs_size(); ++i) {
    TfLiteTensor* tensor = interpreter.input(i);
    memcpy(tensor->data.raw, input, tensor->bytes);
    input += tensor->bytes;
  }
  if (interpreter.Invoke() != kTfLiteOk) return 4;
  FILE* output = fopen(argv[3], "wb");
  for (size_t i = 0; i < interpreter.outputs_size(); ++i) {
    TfLiteTensor* tensor = interpreter.output(i);
    fwrite(tensor->data.raw, 1, tensor->bytes, output);
  }
  fclose(output);
  printf("used %u\n", static_cast<unsigned>(interpreter.arena_used_bytes()));
  return 0;
}
