// An open model: answers as they come, and logits.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <new>

#include "bindings.h"
#include "python/requests.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

void open(LoadedModel* self, const LoadOptions& options, const nb::object& tell) {
  const nb::gil_scoped_release free;
  new (self) LoadedModel(options, [&tell](const std::string& text) {
    const nb::gil_scoped_acquire lock;
    tell(text);
  });
}

std::shared_ptr<AnswerQueue> submit(LoadedModel& model, const std::vector<Prompt>& prompts,
                                    const GenerateSettings& settings,
                                    const AnswerOptions& options) {
  const nb::gil_scoped_release free;
  return model.submit(text_requests(model, prompts, settings), options, looking_for_signals());
}

std::shared_ptr<AnswerQueue> submit_chat(LoadedModel& model, nb::handle messages,
                                         nb::handle options, const GenerateSettings& settings,
                                         const AnswerOptions& answer) {
  const Json turns = json_of(messages, "messages"), flags = json_of(options, "options");
  const nb::gil_scoped_release free;
  std::vector<Request> requests;
  requests.push_back(chat_request(model, turns, flags, settings));
  return model.submit(std::move(requests), answer, looking_for_signals());
}

/// Waits until there is something to tell, and looks for Ctrl-C meanwhile.
std::vector<AnswerPiece> take(AnswerQueue& queue) {
  const nb::gil_scoped_release free;
  const WhileWaiting meanwhile = looking_for_signals();
  while (true) {
    std::vector<AnswerPiece> pieces = queue.take(0.05);
    if (!pieces.empty() || queue.is_done()) return pieces;
    meanwhile();
  }
}

nb::object logits(LoadedModel& model, const std::vector<std::vector<int32_t>>& ids) {
  DLManagedTensor* tensor = nullptr;
  {
    const nb::gil_scoped_release free;
    tensor = model.logits(ids, looking_for_signals());
  }
  return capsule_of(tensor);
}

void bind_settings(nb::module_& module) {
  nb::class_<LoadOptions>(module, "LoadOptions")
      .def(nb::init<>())
      .def_rw("folder", &LoadOptions::folder)
      .def_rw("device", &LoadOptions::device)
      .def_rw("dtype", &LoadOptions::type)
      .def_rw("activations", &LoadOptions::activations)
      .def_rw("cache_type", &LoadOptions::cache_type)
      .def_rw("threads", &LoadOptions::threads)
      .def_rw("memory", &LoadOptions::memory_bytes)
      .def_rw("context", &LoadOptions::max_context)
      .def_rw("max_sequences", &LoadOptions::max_sequences)
      .def_rw("keeps_prompts", &LoadOptions::keeps_prompts)
      .def_rw("attn_logits_scaling", &LoadOptions::attn_logits_scaling);
  nb::class_<GenerateSettings>(module, "GenerateSettings")
      .def(nb::init<>())
      .def_rw("sampling", &GenerateSettings::sampling)
      .def_rw("logit_bias", &GenerateSettings::logit_bias)
      .def_rw("seed", &GenerateSettings::seed)
      .def_rw("max_tokens", &GenerateSettings::max_tokens)
      .def_rw("min_tokens", &GenerateSettings::min_tokens)
      .def_rw("top_logprobs", &GenerateSettings::top_logprobs)
      .def_rw("ignore_eos", &GenerateSettings::ignores_eos);
  nb::class_<AnswerOptions>(module, "AnswerOptions")
      .def(nb::init<>())
      .def_rw("stop", &AnswerOptions::stop)
      .def_rw("skip_special_tokens", &AnswerOptions::skip_special_tokens);
}

void bind_answers(nb::module_& module) {
  nb::class_<AnswerPiece>(module, "AnswerPiece")
      .def_ro("index", &AnswerPiece::index)
      .def_ro("text", &AnswerPiece::text)
      .def_ro("id", &AnswerPiece::id)
      .def_ro("logprob", &AnswerPiece::logprob)
      .def_ro("finish", &AnswerPiece::finish)
      .def_prop_ro("top", [](const AnswerPiece& piece) {
        nb::list top;
        for (const auto& [id, logprob] : piece.top) top.append(nb::make_tuple(id, logprob));
        return top;
      });
  nb::class_<AnswerQueue>(module, "AnswerQueue")
      .def("take", &take)
      .def("take_at_once", [](AnswerQueue& queue) { return queue.take(0); })
      .def_prop_ro("is_done", &AnswerQueue::is_done)
      .def("notify", &AnswerQueue::notify);
}

}  // namespace

void bind_model(nb::module_& module) {
  bind_settings(module);
  bind_answers(module);
  nb::class_<LoadedModel>(module, "Model")
      .def("__init__", &open)
      .def_prop_ro("folder", [](const LoadedModel& model) { return model.about().folder; })
      .def_prop_ro("device", [](const LoadedModel& model) { return model.about().device; })
      .def_prop_ro("dtype", [](const LoadedModel& model) { return model.about().type; })
      .def_prop_ro("config",
                   [](const LoadedModel& model) { return python_of(model.about().config); })
      .def_prop_ro("vocab_size", [](const LoadedModel& model) { return model.about().vocab_size; })
      .def_prop_ro("made_for", [](const LoadedModel& model) { return model.about().made_for; })
      .def_prop_ro("parameters", [](const LoadedModel& model) { return model.about().parameters; })
      .def_prop_ro("tokenizer", &LoadedModel::text)
      .def_prop_ro("is_open", &LoadedModel::is_open)
      .def("close", &LoadedModel::close, nb::call_guard<nb::gil_scoped_release>())
      .def("submit", &submit)
      .def("submit_chat", &submit_chat)
      .def("cancel", &LoadedModel::cancel)
      .def("logits", &logits);
}

}  // namespace hypenet
