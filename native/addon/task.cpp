#include "addon/task.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "addon/arguments.h"
#include "addon/binding.h"

namespace lethe::addon {

namespace {

// Lives until its thread-safe function is finalized.
class Task {
 public:
  Task(Napi::Env env, TaskOptions options, std::function<Status(const TaskControl&)> work, std::function<Napi::Value(Napi::Env)> settle)
      : work_(std::move(work)), settle_(std::move(settle)), buffers_(std::move(options.buffers)) {
    control_.abortFlag = readFlag(options.abortFlag);
    control_.endFlag = &ended_;
    control_.onProgress = [this](double done, double total) { report(done, total); };
    if (options.onProgress.IsUndefined()) return;
    if (!options.onProgress.IsFunction()) invalid(env, "onProgress", "a function or undefined", describe(options.onProgress));
    onProgress_ = Napi::Persistent(options.onProgress.As<Napi::Function>());
  }

  // Takes over the ownership of the task.
  static Napi::Value start(Napi::Env env, std::unique_ptr<Task> owned) {
    Task* task = owned.get();
    const Napi::Promise promise = task->deferred_.emplace(Napi::Promise::Deferred::New(env)).Promise();
    const Napi::String name = Napi::String::New(env, "lethe task");
    const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, finalize, task, wake, &task->wake_);
    if (status != napi_ok) throw Napi::Error::New(env);
    owned.release();
    // added after the thread-safe function's own hook, and so run before it
    napi_add_env_cleanup_hook(env, end, task);
    try {
      task->thread_ = std::thread([task] { task->run(); });
    } catch (const std::system_error&) {
      task->status_ = statusOfException();
      task->finish(env);
    }
    return promise;
  }

 private:
  const std::atomic<int32_t>* readFlag(const Napi::Value& flag) {
    if (flag.IsUndefined()) return nullptr;
    napi_typedarray_type type = napi_int8_array;
    size_t length = 0;
    void* data = nullptr;
    napi_value buffer = nullptr;
    bool transferable = true;
    const bool read = flag.IsTypedArray() && napi_get_typedarray_info(flag.Env(), flag, &type, &length, &data, &buffer, nullptr) == napi_ok &&
                      napi_is_arraybuffer(flag.Env(), buffer, &transferable) == napi_ok;
    if (!read || type != napi_int32_array || length < 1 || transferable) {
      invalid(flag.Env(), "abortFlag", "an Int32Array over a SharedArrayBuffer, or undefined", describe(flag));
    }
    flag_ = Napi::Reference<Napi::Value>::New(flag, 1);
    static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t));
    return static_cast<const std::atomic<int32_t>*>(data);
  }

  void run() {
    try {
      status_ = work_(control_);
    } catch (...) {
      status_ = statusOfException();
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  }

  void report(double done, double total) {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = std::max(done_, done);  // workers may report out of order
    total_ = total;
    if (awake_ || onProgress_.IsEmpty()) return;
    awake_ = napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking) == napi_ok;
  }

  // On the JavaScript thread: for progress, and for the end of the work.
  static void wake(napi_env env, napi_value, void* context, void*) {
    if (env == nullptr) return;  // the environment ends
    Task* task = static_cast<Task*>(context);
    std::unique_lock<std::mutex> lock(task->mutex_);
    const bool finished = task->finished_, reported = std::exchange(task->awake_, false);
    const double done = task->done_, total = task->total_;
    lock.unlock();
    if (reported) task->callProgress(env, done, total);
    if (finished && task->thread_.joinable()) task->finish(env);
  }

  // Raw: what the callback throws stays pending, and Node reports it as uncaught.
  void callProgress(napi_env env, double done, double total) {
    napi_value undefined, function, arguments[2];
    if (napi_get_undefined(env, &undefined) != napi_ok || napi_create_double(env, done, &arguments[0]) != napi_ok ||
        napi_create_double(env, total, &arguments[1]) != napi_ok || napi_get_reference_value(env, onProgress_, &function) != napi_ok) {
      return;
    }
    napi_call_function(env, undefined, function, 2, arguments, nullptr);
  }

  void finish(Napi::Env env) {
    if (thread_.joinable()) thread_.join();
    napi_remove_env_cleanup_hook(env, end, this);
    const Napi::HandleScope scope(env);
    try {
      settle(env);
    } catch (const Napi::Error&) {
      // the environment is ending: nobody awaits the promise
    }
    napi_release_threadsafe_function(wake_, napi_tsfn_release);
  }

  void settle(Napi::Env env) {
    Napi::Value result, problem;
    try {
      if (!status_.ok()) throw toError(env, status_);
      buffers_.deliver(env);
      buffers_ = {};  // gigabytes, perhaps, beside the result
      result = settle_(env);
    } catch (const Napi::Error& error) {
      problem = error.Value();
    } catch (...) {
      problem = toError(env, statusOfException()).Value();
    }
    if (problem.IsEmpty()) deferred_->Resolve(result);
    else deferred_->Reject(problem);
  }

  // The environment goes, and its values with it: no thread may be left.
  static void end(void* context) {
    Task* task = static_cast<Task*>(context);
    task->ended_.store(1);
    if (task->thread_.joinable()) task->thread_.join();
  }

  static void finalize(napi_env, void*, void* context) { delete static_cast<Task*>(context); }

  std::function<Status(const TaskControl&)> work_;
  std::function<Napi::Value(Napi::Env)> settle_;
  Buffers buffers_;
  std::optional<Napi::Promise::Deferred> deferred_;
  Napi::Reference<Napi::Value> flag_;
  Napi::FunctionReference onProgress_;
  napi_threadsafe_function wake_ = nullptr;
  std::thread thread_;
  TaskControl control_;
  Status status_;
  std::atomic<int32_t> ended_{0};
  std::mutex mutex_;  // of what follows
  double done_ = 0, total_ = 0;
  bool awake_ = false, finished_ = false;
};

}  // namespace

Napi::Value runTask(Napi::Env env, TaskOptions options, std::function<Status(const TaskControl&)> work, std::function<Napi::Value(Napi::Env)> settle) {
  return Task::start(env, std::make_unique<Task>(env, std::move(options), std::move(work), std::move(settle)));
}

Napi::Value settleNothing(Napi::Env env) { return env.Undefined(); }

}  // namespace lethe::addon
