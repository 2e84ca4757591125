// Runs a core function on its own thread and settles a promise: the event loop stays free, progress arrives as calls of a
// JavaScript function, and an Int32Array over a SharedArrayBuffer is the abort flag.
#pragma once
#include <napi.h>

#include <functional>

#include "addon/buffers.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"

namespace lethe::addon {

struct TaskOptions {
  Napi::Value onProgress;  // function (done: number, total: number) => void, or undefined
  Napi::Value abortFlag;   // Int32Array over a SharedArrayBuffer, or undefined
  Buffers buffers;         // what the work reads and fills
};

// work runs on a new thread and must touch no JavaScript value; settle runs on the JavaScript thread after success, once the outputs are delivered.
// Where the environment ends first (a worker thread is terminated, the process exits), the work is told to stop and waited for.
Napi::Value runTask(Napi::Env env, TaskOptions options, std::function<Status(const TaskControl&)> work, std::function<Napi::Value(Napi::Env)> settle);

// The settle of functions that only fill arrays.
Napi::Value settleNothing(Napi::Env env);

}  // namespace lethe::addon
