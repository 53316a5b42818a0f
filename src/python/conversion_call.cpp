// Progress is handed over, not called from beside: nobody's callback runs on another thread.
#include "python/conversion_call.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "engine/places.h"
#include "halo/pipeline.h"
#include "python/threads.h"
#include "run/kept_recipe.h"
#include "run/run_files.h"

namespace hypenet {
namespace {

/// What a run reports, for another thread to take.
class Reports : public Observer {
 public:
  void on_step(const StepReport& report) override {
    push({.kind = "step",
          .stage = report.stage,
          .done = report.step,
          .total = report.steps,
          .loss = report.loss,
          .learning_rate = report.learning_rate,
          .tokens_per_second = report.tokens_per_second,
          .seconds_left = report.seconds_left});
  }
  void on_note(const std::string& text) override { push({.kind = "note", .text = text}); }
  void on_progress(const std::string& stage, int64_t done, int64_t total) override {
    push({.kind = "work", .stage = stage, .done = done, .total = total});
  }

  void end(std::exception_ptr error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error), is_done_ = true;
    has_news_.notify_all();
  }

  /// What came since, waiting a moment for it; nullopt: the run has ended and all was taken.
  std::optional<std::deque<ConvertProgress>> take() {
    std::unique_lock lock(mutex_);
    has_news_.wait_for(lock, std::chrono::milliseconds(50),
                       [&] { return is_done_ || !reports_.empty(); });
    if (is_done_ && reports_.empty()) return std::nullopt;
    return std::exchange(reports_, {});
  }

  const std::exception_ptr& error() const { return error_; }

 private:
  void push(ConvertProgress report) {
    const std::scoped_lock lock(mutex_);
    reports_.push_back(std::move(report));
    has_news_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable has_news_;
  std::deque<ConvertProgress> reports_;
  std::exception_ptr error_;
  bool is_done_ = false;
};

RecipeSource source_of(const ConvertSettings& settings) {
  HYPENET_CHECK(settings.recipe.empty() != settings.resume.empty(),
                "recipe: expected a recipe file, or resume= and the folder of a run, found ",
                settings.recipe.empty() ? "neither" : "both");
  RecipeSource source{.path = settings.recipe,
                      .settings = settings.settings,
                      .teacher = settings.teacher,
                      .data = settings.data,
                      .validation = settings.validation,
                      .text_field = settings.text_field,
                      .on_bad_document = settings.on_bad_document};
  if (!settings.resume.empty()) source.path = kept_recipe(settings.resume, "convert");
  return source;
}

std::filesystem::path out_of(const ConvertSettings& settings) {
  if (!settings.resume.empty()) return settings.resume;
  return settings.out.empty() ? default_out(settings.recipe) : settings.out;
}

ConversionPlan plan_of(const ConvertSettings& settings) {
  const auto step = [](const char* name, const std::string& text) {
    std::optional<ConversionStep> found;
    if (!text.empty()) at_place(name, [&] { found = parse_step(text); });
    return found;
  };
  return {step("from_step", settings.from), step("until", settings.until)};
}

/// Hands reports to the caller's functions until the run ends; the error of one of them, after
/// which `stop` is set.
std::exception_ptr follow(Reports& reports, std::atomic<bool>& stop,
                          const OnConvertProgress& on_progress, const WhileWaiting& meanwhile) {
  std::exception_ptr thrown;
  while (const auto news = reports.take()) {
    if (thrown) continue;
    try {
      if (meanwhile) meanwhile();
      for (const ConvertProgress& report : *news) {
        if (on_progress) on_progress(report);
      }
    } catch (...) {
      thrown = std::current_exception();
      stop = true;
    }
  }
  return thrown;
}

}  // namespace

ConvertOutcome run_conversion(const ConvertSettings& settings, const OnConvertProgress& on_progress,
                              const WhileWaiting& meanwhile) {
  const ConversionPlan plan = plan_of(settings);
  const HaloRecipe recipe = read_halo_recipe(source_of(settings));
  use_threads(settings.threads);
  Reports reports;
  std::atomic<bool> stop = false;
  const RunOptions options{.out = out_of(settings),
                           .device = device_of(settings.device, "device"),
                           .observer = &reports,
                           .stop = &stop};
  ConversionResult result;
  std::thread run([&] {
    std::exception_ptr error;
    try {
      result = convert(recipe, options, plan);
    } catch (...) {
      error = std::current_exception();
    }
    reports.end(error);
  });
  const std::exception_ptr thrown = follow(reports, stop, on_progress, meanwhile);
  run.join();
  if (thrown) std::rethrow_exception(thrown);
  if (reports.error()) std::rethrow_exception(reports.error());
  ConvertOutcome outcome{.model = result.model, .report = result.report};
  if (settings.until.empty()) {
    outcome.table = format_table(result.table);
    outcome.results = read_json(options.out / "results.json");
  }
  return outcome;
}

}  // namespace hypenet
