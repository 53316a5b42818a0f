// The loop. Its only memory besides the parameters is the optimizer's: batches and rates are
// functions of the step.
#include "train/loop.h"

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "train/metrics_log.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

fs::path state_path(const TrainJob& job) { return job.folder / (job.stage + ".state.safetensors"); }

void save_state(const TrainJob& job, const AdamW& optimizer, int64_t step) {
  write_safetensors(state_path(job), optimizer.state(),
                    {{"step", std::to_string(step)}, {"settings", job.settings.dump()}});
}

/// Restores parameters and optimizer; returns the step to go on with, 0 without a saved state.
int64_t load_state(const TrainJob& job, AdamW& optimizer) {
  const fs::path path = state_path(job);
  if (!fs::exists(path)) return 0;
  const SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  HYPENET_CHECK(metadata.contains("step") && metadata.contains("settings"), path.string(),
                ": expected a saved training state, found other tensors");
  check_same_settings(path, job.settings, parse_json(metadata.at("settings"), path.string()));
  optimizer.load_state(file, path.string());
  return std::stoll(metadata.at("step"));
}

Batch rows(const Batch& batch, int64_t first, int64_t count) {
  return {batch.ids.narrow(0, first, count), batch.targets.narrow(0, first, count)};
}

/// Mean loss of the step's batch, its gradient accumulated in micro-batches.
Tensor accumulate_step(const TrainJob& job, const Batch& batch, Objective& objective) {
  const int64_t sequences = batch.ids.size(0);
  const int64_t micro = job.config.micro_sequences > 0 ? job.config.micro_sequences : sequences;
  Tensor loss;
  for (int64_t first = 0; first < sequences; first += micro) {
    const int64_t count = std::min(micro, sequences - first);
    const double weight = static_cast<double>(count) / static_cast<double>(sequences);
    const Tensor part = objective.accumulate(rows(batch, first, count), weight) * weight;
    loss = loss.defined() ? loss + part : part;
  }
  return loss;
}

std::string first_nonfinite_gradient(const NamedTensors& parameters) {
  for (const auto& [name, tensor] : parameters) {
    if (tensor.grad().defined() && !tensor.grad().isfinite().all().item<bool>()) {
      return "the gradient of " + name;
    }
  }
  return "none found in a second pass";
}

[[noreturn]] void fail_nonfinite(const TrainJob& job, int64_t step, double loss, double norm,
                                 const Batch& batch, Objective& objective) {
  std::string first = objective.first_nonfinite(batch);
  if (first.empty()) first = first_nonfinite_gradient(job.parameters);
  throw Error(concat(job.stage, ": step ", step + 1,
                     ": expected a finite loss and gradient, found loss ", loss, ", gradient norm ",
                     norm, "; first not finite: ", first,
                     "; the parameters and the last saved state are as before this step"));
}

/// Collects what happens between two reports.
class Meter {
 public:
  Meter(const TrainJob& job, int64_t first_step)
      : job_(job),
        first_step_(first_step),
        reported_(first_step),
        began_(Clock::now()),
        last_(began_) {}

  void add(double loss) { loss_sum_ += loss; }

  StepReport report(int64_t done, double learning_rate, double norm) {
    const auto now = Clock::now();
    const auto count = static_cast<double>(done - reported_);
    const double tokens = count * static_cast<double>(job_.config.sequences * job_.config.context);
    const double pace = seconds_between(began_, now) / static_cast<double>(done - first_step_);
    StepReport report{job_.stage,
                      done,
                      job_.config.steps,
                      loss_sum_ / count,
                      learning_rate,
                      norm,
                      tokens / seconds_between(last_, now),
                      pace * static_cast<double>(job_.config.steps - done)};
    reported_ = done;
    last_ = now;
    loss_sum_ = 0;
    return report;
  }

 private:
  const TrainJob& job_;
  int64_t first_step_, reported_;
  Clock::time_point began_, last_;
  double loss_sum_ = 0;
};

}  // namespace

torch::ScalarType StageConfig::compute_type() const {
  return precision == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
}

void check_stage(const StageConfig& config, const std::string& place) {
  const auto positive = [&](const char* key, int64_t value) {
    HYPENET_CHECK(value > 0, place, ": ", key, ": expected a positive number, found ", value);
  };
  positive("sequences", config.sequences);
  positive("context", config.context);
  positive("save_every", config.save_every);
  positive("log_every", config.log_every);
  HYPENET_CHECK(config.steps >= 0, place, ": steps: expected 0 or more, found ", config.steps);
  HYPENET_CHECK(config.micro_sequences >= 0, place, ": micro_sequences: expected 0 or more, found ",
                config.micro_sequences);
  HYPENET_CHECK(config.precision == "float32" || config.precision == "bfloat16", place,
                ": precision: expected \"float32\" or \"bfloat16\", found \"", config.precision,
                "\"");
}

void check_same_settings(const fs::path& place, const Json& expected, const Json& found) {
  const std::string difference = first_difference(expected, found);
  HYPENET_CHECK(difference.empty(), place.string(), ": made with other settings: ", difference,
                "; repeat that command, choose another --out, or remove what it made");
}

Batch to_device(const Batch& batch, torch::Device device) {
  return {batch.ids.to(device), batch.targets.to(device)};
}

TrainResult train(const TrainJob& job, const Batches& batches, Objective& objective) {
  AdamW optimizer(job.parameters, job.config.optimizer);
  const int64_t first_step = load_state(job, optimizer);
  if (first_step > 0 && job.observer) {
    job.observer->on_note(
        concat(job.stage, ": going on after step ", first_step, " of ", job.config.steps));
  }
  MetricsLog log(job.folder, job.stage, first_step);
  Meter meter(job, first_step);
  for (int64_t step = first_step; step < job.config.steps; ++step) {
    const Batch batch = to_device(batches.at(step), job.device);
    optimizer.zero_gradients();
    const Tensor loss = accumulate_step(job, batch, objective);
    const Tensor norm = optimizer.clip_gradients();
    // One read brings both numbers to the host: it is the step's only synchronisation.
    const Tensor numbers = torch::stack({loss.to(torch::kFloat32), norm.to(torch::kFloat32)}).cpu();
    const double loss_value = numbers[0].item<float>(), norm_value = numbers[1].item<float>();
    if (!std::isfinite(loss_value) || !std::isfinite(norm_value)) {
      fail_nonfinite(job, step, loss_value, norm_value, batch, objective);
    }
    const double rate = learning_rate(job.config.optimizer, step, job.config.steps);
    optimizer.step(rate);
    meter.add(loss_value);
    const int64_t done = step + 1;
    if (done % job.config.log_every == 0 || done == job.config.steps) {
      const StepReport report = meter.report(done, rate, norm_value);
      log.write(report);
      if (job.observer) job.observer->on_step(report);
    }
    const bool stopped = job.stop && job.stop->load();
    if (stopped || done % job.config.save_every == 0 || done == job.config.steps) {
      save_state(job, optimizer, done);
    }
    if (stopped && done < job.config.steps) return TrainResult::kInterrupted;
  }
  return TrainResult::kFinished;
}

void remove_state(const TrainJob& job) {
  std::error_code ignored;
  fs::remove(state_path(job), ignored);
}

}  // namespace hypenet
