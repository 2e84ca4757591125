#include "addon/buffers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"

namespace lethe::addon {

namespace {

template <typename T>
struct ArrayType;
template <>
struct ArrayType<float> {
  static constexpr napi_typedarray_type type = napi_float32_array;
  static constexpr const char* name = "a Float32Array";
};
template <>
struct ArrayType<double> {
  static constexpr napi_typedarray_type type = napi_float64_array;
  static constexpr const char* name = "a Float64Array";
};
template <>
struct ArrayType<int32_t> {
  static constexpr napi_typedarray_type type = napi_int32_array;
  static constexpr const char* name = "an Int32Array";
};
template <>
struct ArrayType<uint8_t> {
  static constexpr napi_typedarray_type type = napi_uint8_array;
  static constexpr const char* name = "a Uint8Array";
};

struct View {
  napi_typedarray_type type = napi_int8_array;
  void* data = nullptr;
  size_t length = 0;
};

// The raw call also takes views of SharedArrayBuffers, which node-addon-api's accessor of the buffer refuses.
bool readView(const Napi::Value& value, View& view) {
  return value.IsTypedArray() && napi_get_typedarray_info(value.Env(), value, &view.type, &view.length, &view.data, nullptr, nullptr) == napi_ok;
}

template <typename T>
View checkedView(const Napi::Value& value, const char* name, size_t count) {
  View view;
  const std::string label = ArrayType<T>::name;
  if (!readView(value, view) || view.type != ArrayType<T>::type) invalid(value.Env(), name, label, describe(value));
  if (count == Buffers::kAll) return view;
  if (view.length < count) {
    invalid(value.Env(), name, label + " of at least " + std::to_string(count) + " elements", std::to_string(view.length) + " elements");
  }
  view.length = count;
  return view;
}

// Memory given out, of all environments of the process.
class Pool {
 public:
  std::shared_ptr<void> allocate(size_t bytes) {
    std::shared_ptr<void> memory(std::calloc(std::max<size_t>(bytes, 1), 1), std::free);
    if (!memory) throw std::bad_alloc();
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_[memory.get()] = {memory, bytes};
    return memory;
  }
  // Null where [data, data + bytes) does not lie in a block.
  std::shared_ptr<void> find(const void* data, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto block = blocks_.upper_bound(data);
    if (block == blocks_.begin()) return nullptr;
    --block;
    const size_t at = static_cast<size_t>(static_cast<const char*>(data) - static_cast<const char*>(block->first));
    return at <= block->second.bytes && bytes <= block->second.bytes - at ? block->second.memory : nullptr;
  }
  void release(void* memory) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_.erase(memory);
  }

 private:
  struct Block {
    std::shared_ptr<void> memory;
    size_t bytes;
  };
  std::mutex mutex_;
  std::map<const void*, Block> blocks_;
};

Pool& pool() {
  static Pool& only = *new Pool;  // finalizers run until the process ends
  return only;
}

constexpr double kMostBytes = 4294967296.0;  // of a Buffer of Node 20, which external memory is

// TS: allocate(bytes: number): ArrayBuffer     Zeroed; calls work in it without a copy, and it lives as long as they do.
Napi::Value allocateBinding(const Napi::CallbackInfo& info) {
  const size_t bytes = static_cast<size_t>(countOf(info[0], "bytes", kMostBytes));
  void* memory = pool().allocate(bytes).get();
  napi_value buffer = nullptr;
  const napi_status status =
      napi_create_external_arraybuffer(info.Env(), memory, bytes, [](napi_env, void* data, void*) { pool().release(data); }, nullptr, &buffer);
  if (status != napi_ok) {
    pool().release(memory);
    throw toError(info.Env(), Status::error("LETHE_MEMORY_EXHAUSTED", "this JavaScript engine takes no memory of an addon."));
  }
  return Napi::Value(info.Env(), buffer);
}

}  // namespace

void* Buffers::hold(const void* data, size_t bytes, bool inPlace) {
  alignas(double) static char nothing[sizeof(double)];
  if (bytes == 0) return nothing;  // not null, which means absent
  if (inPlace) {
    if (std::shared_ptr<void> block = pool().find(data, bytes)) {
      held_.push_back(std::move(block));
      return const_cast<void*>(data);
    }
  }
  std::shared_ptr<void> copy(std::malloc(bytes), std::free);
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy.get(), data, bytes);
  held_.push_back(copy);
  return copy.get();
}

template <typename T>
std::span<const T> Buffers::input(const Napi::Value& value, const char* name, size_t count) {
  const View view = checkedView<T>(value, name, count);
  const bool indexes = std::is_same_v<T, int32_t> || std::is_same_v<T, double>;
  return {static_cast<const T*>(hold(view.data, view.length * sizeof(T), !indexes)), view.length};
}

template <typename T>
std::span<T> Buffers::output(const Napi::Value& value, const char* name, size_t count) {
  const View view = checkedView<T>(value, name, count);
  const size_t bytes = view.length * sizeof(T);
  T* memory = static_cast<T*>(hold(view.data, bytes, true));
  outputs_.push_back({Napi::Reference<Napi::Value>::New(value, 1), name, memory, bytes});
  return {memory, view.length};
}

void Buffers::deliver(Napi::Env env) {
  for (const Output& output : outputs_) {
    View view;
    size_t elementBytes = 1;
    const bool read = readView(output.array.Value(), view);
    if (view.type == napi_float32_array || view.type == napi_int32_array) elementBytes = 4;
    if (view.type == napi_float64_array) elementBytes = 8;
    if (!read || view.length * elementBytes < output.bytes) {
      throw toError(
          env, Status::error("LETHE_BUFFER_LOST", std::string(output.name) + ": expected the array to stay as it was until the call's end; received a buffer " +
                                                      "that was transferred or shrunk. Its results are lost: call again with a buffer that is left alone."));
    }
    if (output.bytes > 0 && view.data != output.from) std::memcpy(view.data, output.from, output.bytes);
  }
}

template std::span<const float> Buffers::input<float>(const Napi::Value&, const char*, size_t);
template std::span<const double> Buffers::input<double>(const Napi::Value&, const char*, size_t);
template std::span<const int32_t> Buffers::input<int32_t>(const Napi::Value&, const char*, size_t);
template std::span<const uint8_t> Buffers::input<uint8_t>(const Napi::Value&, const char*, size_t);
template std::span<float> Buffers::output<float>(const Napi::Value&, const char*, size_t);
template std::span<double> Buffers::output<double>(const Napi::Value&, const char*, size_t);
template std::span<int32_t> Buffers::output<int32_t>(const Napi::Value&, const char*, size_t);
template std::span<uint8_t> Buffers::output<uint8_t>(const Napi::Value&, const char*, size_t);

void registerBuffers(Napi::Env env, Napi::Object exports) { define<allocateBinding>(env, exports, "allocate"); }

}  // namespace lethe::addon
