// Scores, the harness's requests, and tasks.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <string>
#include <tuple>

#include "base/error.h"
#include "bindings.h"
#include "python/measure.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

/// Numbers that the engine's thread leaves for the caller's callback.
class Answered {
 public:
  explicit Answered(nb::object callback) : callback_(std::move(callback)) {}

  OnAnswered on_answered() {
    return [this](int64_t done, int64_t total) { done_ = done, total_ = total; };
  }
  /// Under the interpreter's lock.
  WhileWaiting meanwhile() {
    return looking_for_signals([this] { tell(); });
  }
  void tell() {
    const int64_t done = done_;
    if (callback_.is_none() || done == told_) return;
    told_ = done;
    callback_(done, total_.load());
  }

 private:
  nb::object callback_;
  std::atomic<int64_t> done_ = 0, total_ = 0;
  int64_t told_ = 0;
};

nb::tuple score(LoadedModel& model, const std::vector<std::pair<Prompt, Prompt>>& pairs) {
  PairScores scores;
  {
    const nb::gil_scoped_release free;
    scores = score_pairs(model, pairs, looking_for_signals());
  }
  return nb::make_tuple(capsule_of(tensor_of(scores.loglikelihoods)),
                        capsule_of(tensor_of(scores.greedy)));
}

/// (kind, context, continuation, until, max_tokens)
using PlainRequest =
    std::tuple<std::string, std::string, std::string, std::vector<std::string>, int64_t>;

EvalRequest request_of(const PlainRequest& plain) {
  const auto& [kind, context, continuation, until, max_tokens] = plain;
  HYPENET_CHECK(kind == "loglikelihood" || kind == "rolling" || kind == "generate",
                "request: expected loglikelihood, rolling or generate, found ", kind);
  return {.kind = kind == "loglikelihood" ? RequestKind::kLoglikelihood
                  : kind == "rolling"     ? RequestKind::kRolling
                                          : RequestKind::kGenerate,
          .context = context,
          .continuation = continuation,
          .until = until,
          .max_tokens = max_tokens};
}

nb::list answer(LoadedModel& model, const std::vector<PlainRequest>& plain,
                const AnswerSettings& settings, nb::object on_progress) {
  Answered answered(std::move(on_progress));
  std::vector<EvalAnswer> answers;
  {
    const nb::gil_scoped_release free;
    std::vector<EvalRequest> requests;
    requests.reserve(plain.size());
    for (const PlainRequest& request : plain) requests.push_back(request_of(request));
    answers =
        answer_requests(model, requests, settings, answered.on_answered(), answered.meanwhile());
  }
  answered.tell();
  nb::list list;
  for (const EvalAnswer& answer : answers) {
    list.append(nb::make_tuple(answer.loglikelihood, answer.is_greedy, answer.text));
  }
  return list;
}

nb::object evaluate(LoadedModel& model, const TaskSettings& settings, nb::object on_progress) {
  Answered answered(std::move(on_progress));
  Json results;
  {
    const nb::gil_scoped_release free;
    results = evaluate_tasks(model, settings, answered.on_answered(), answered.meanwhile());
  }
  answered.tell();
  return python_of(results);
}

}  // namespace

void bind_measures(nb::module_& module) {
  nb::class_<AnswerSettings>(module, "AnswerSettings")
      .def(nb::init<>())
      .def_rw("max_length", &AnswerSettings::max_length)
      .def_rw("batch_tokens", &AnswerSettings::batch_tokens)
      .def_rw("sums_in_bf16", &AnswerSettings::sums_in_bf16);
  nb::class_<TaskSettings>(module, "TaskSettings")
      .def(nb::init<>())
      .def_rw("tasks", &TaskSettings::tasks)
      .def_rw("data", &TaskSettings::data)
      .def_rw("limit", &TaskSettings::limit)
      .def_rw("shots", &TaskSettings::shots)
      .def_rw("lengths", &TaskSettings::lengths)
      .def_rw("samples", &TaskSettings::samples)
      .def_rw("seed", &TaskSettings::seed)
      .def_rw("task_version", &TaskSettings::task_version)
      .def_rw("ruler_as_harness", &TaskSettings::ruler_as_harness)
      .def_rw("answers", &TaskSettings::answers)
      .def_rw("logs_samples", &TaskSettings::logs_samples);
  module.def("score", &score);
  module.def("answer", &answer, nb::arg("model"), nb::arg("requests"), nb::arg("settings"),
             nb::arg("on_progress").none());
  module.def("evaluate", &evaluate, nb::arg("model"), nb::arg("settings"),
             nb::arg("on_progress").none());
}

}  // namespace hypenet
