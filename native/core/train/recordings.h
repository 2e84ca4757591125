// Parts of training steps that repeat, on backends that can record them: a step is many short kernels, and launching each anew takes the
// host longer than a small network takes the GPU.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "lethe/train/backend.h"

namespace lethe {

// All that the kernels of a term depend on: buffers are the trainer's own, and their content may differ.
struct TermKey {
  int64_t n = 0;
  bool trainBatchNorm = false;
  LossWeights objective;
  float weight = 0;
  const void *placements = nullptr, *targets = nullptr;  // in the batch that was sent
  const void *gradient = nullptr, *loss = nullptr;
  bool operator==(const TermKey&) const = default;
};

class Recordings {
 public:
  explicit Recordings(const TrainBackend& backend) : backend_(backend) {}

  // Calls body, or replays what it did for an equal key. The first call is never a recording: what runs for the first time may load
  // kernels and allocate scratch memory.
  void run(const TermKey& key, const std::function<void()>& body) {
    if (!backend_.record) return body();
    for (Entry& entry : entries_) {
      if (!(entry.key == key)) continue;
      if (!entry.recording) entry.recording = Recording(backend_.record(body), backend_.releaseRecording);
      return backend_.replay(entry.recording.get());
    }
    body();
    if (entries_.size() == kMost) entries_.erase(entries_.begin());
    entries_.push_back({key, Recording(nullptr, backend_.releaseRecording)});
  }

 private:
  static constexpr size_t kMost = 8;  // a pass has full batches and a last one, of one or two terms
  typedef std::unique_ptr<void, void (*)(void*)> Recording;
  struct Entry {
    TermKey key;
    Recording recording;  // null: called once
  };

  const TrainBackend& backend_;
  std::vector<Entry> entries_;
};

}  // namespace lethe
