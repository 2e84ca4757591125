// Arrays of JavaScript that native threads read and write. Their memory may be taken away in the middle of a call (an ArrayBuffer is
// transferred, a resizable one shrinks), and Node-API cannot hold it: a call works on copies, except in memory that the addon gave out.
#pragma once
#include <napi.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lethe::addon {

// Of one call. Not to be touched by two threads at once.
class Buffers {
 public:
  static constexpr size_t kAll = SIZE_MAX;

  // The first `count` elements of an array that the call reads. Throws LETHE_ARGUMENT_INVALID on another type and where it has fewer.
  // What indexes other arrays (int32, double) is always a copy: it stays as it was checked.
  template <typename T>
  std::span<const T> input(const Napi::Value& value, const char* name, size_t count = kAll);

  // Of an array that the call fills. It is read too: what the call leaves alone stays as it was.
  template <typename T>
  std::span<T> output(const Napi::Value& value, const char* name, size_t count = kAll);

  // Hands the outputs over, once the work is done. Throws LETHE_BUFFER_LOST where an array is no longer there or has become shorter.
  void deliver(Napi::Env env);

 private:
  struct Output {
    Napi::Reference<Napi::Value> array;
    const char* name;
    const void* from;  // its copy, or itself
    size_t bytes;
  };
  void* hold(const void* data, size_t bytes, bool inPlace);

  std::vector<std::shared_ptr<void>> held_;
  std::vector<Output> outputs_;
};

}  // namespace lethe::addon
