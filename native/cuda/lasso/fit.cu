// Fits on GPUs: a design uploaded to each device, and host threads for each device that serve the targets of a fit.
#include <memory>
#include <mutex>

#include "core/lasso/target.h"
#include "cuda/base/over_devices.h"
#include "cuda/lasso/workers.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

class Fit final : public GpuFit {
 public:
  Fit(std::shared_ptr<const LassoDesign> design, const FitOptions& options, std::vector<int> devices)
      : design_(std::move(design)), options_(options), devices_(std::move(devices)), uploaded_(devices_.size()) {}

  Status upload(const GpuOptions& gpu, int64_t numTargets, const TaskControl& control) {
    const int64_t share = (numTargets + static_cast<int64_t>(devices_.size()) - 1) / static_cast<int64_t>(devices_.size());
    const auto work = [&](size_t k) { uploaded_[k] = std::make_unique<GpuDesign>(*design_, options_, memoryOf(gpu), share, control); };
    const Status status = onDevices(devices_, work, [] {});
    return status.ok() && control.aborted() ? Status::error("LETHE_TASK_ABORTED", "the fit was stopped before its design was on the GPU.") : status;
  }

  Status fit(const TargetView& targets, const TaskControl& control, std::vector<TargetFit>& fits) override {
    Status status = checkTargets(targets, options_);
    if (!status.ok()) return status;
    const std::lock_guard<std::mutex> one(busy_);  // a fit may take all the memory that is allowed
    fits.assign(static_cast<size_t>(targets.numTargets), TargetFit{});
    Shared shared{*design_, targets, options_, control, fits};
    const int64_t threads = options_.threads > 0 ? options_.threads : allowedThreads();
    shared.threads = static_cast<int>(std::max<int64_t>(1, threads / static_cast<int64_t>(devices_.size())));
    const auto open = options_.estimator == Estimator::marginal || targets.rowWeights ? fitOnHost : fitOnDevice;
    std::vector<std::unique_ptr<DeviceFit>> parts(devices_.size());
    status = onDevices(devices_, [&](size_t k) { parts[k] = open(shared, *uploaded_[k], devices_[k]); }, [] {});
    if (!status.ok()) return status;
    std::vector<int> workers;  // the device of each
    std::vector<DeviceFit*> partOf;
    for (size_t k = 0; k < devices_.size(); ++k) {
      workers.insert(workers.end(), static_cast<size_t>(parts[k]->numWorkers()), devices_[k]);
      partOf.resize(workers.size(), parts[k].get());
    }
    status = onDevices(workers, [&](size_t w) { partOf[w]->run(); }, [&] { shared.stop = true; });
    operations_ += static_cast<double>(shared.numOperations);
    if (!status.ok()) return status;
    if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "the fit was stopped before it was complete.");
    return Status::success();
  }

  double numOperations() const override { return operations_; }
  bool hasTables() const override { return uploaded_[0]->view().tables > 0; }

 private:
  std::shared_ptr<const LassoDesign> design_;
  FitOptions options_;
  std::vector<int> devices_;
  std::vector<std::unique_ptr<GpuDesign>> uploaded_;  // one a device
  std::mutex busy_;
  double operations_ = 0;
};

Status open(std::shared_ptr<const LassoDesign> design, const FitOptions& options, const GpuOptions& gpu, int64_t numTargets, const TaskControl& control,
            std::unique_ptr<GpuFit>& opened) {
  std::vector<int> devices;
  Status status = chooseDevices(gpu, deviceCount(), devices);
  if (!status.ok()) return status;
  auto fit = std::make_unique<Fit>(std::move(design), options, std::move(devices));
  status = fit->upload(gpu, numTargets, control);
  if (status.ok()) opened = std::move(fit);
  return status;
}

}  // namespace

}  // namespace lasso
}  // namespace LETHE_ISA

Status LETHE_PER_ISA(openFitOnGpu)(std::shared_ptr<const LassoDesign> design, const FitOptions& options, const GpuOptions& gpu, int64_t numTargets,
                                   const TaskControl& control, std::unique_ptr<GpuFit>& opened) {
  return lasso::open(std::move(design), options, gpu, numTargets, control, opened);
}

}  // namespace lethe
