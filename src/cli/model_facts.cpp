// Each fact as people read it, and as programs do.
#include "cli/model_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"
#include "cli/model_folder.h"
#include "cli/numbers.h"
#include "model/mixers/mixer_kind.h"
#include "model/packed_weights.h"
#include "text/chat_template.h"
#include "text/stop_ids.h"
#include "text/turn_prefix.h"

namespace hypenet {
namespace {

/// What a folder has, or the reason why it cannot be used.
template <class Part>
struct Found {
  std::optional<Part> part = {};
  std::string reason = {};
};

template <class Open>
auto try_to_open(const Open& open) -> Found<decltype(open())> {
  try {
    return {open(), {}};
  } catch (const Error& error) {
    return {{}, error.what()};
  }
}

ModelFact context_fact(const ModelConfig& config) {
  const int64_t tokens = config.max_position_embeddings;
  return {"context length", tokens > 0 ? with_commas(tokens) + " tokens" : "not given",
          "max_position_embeddings", tokens > 0 ? Json(tokens) : Json()};
}

/// Mamba-2 alone has no feed-forward part.
ModelFact feed_forward_fact(const ModelConfig& config) {
  const int64_t size = config.intermediate_size;
  return {"feed-forward size", size > 0 ? with_commas(size) : "none", "intermediate_size", size};
}

/// Which kinds of mixer turn queries and keys by their position.
std::vector<std::string> turned_mixers(const ModelConfig& config) {
  std::vector<std::string> kinds;
  for (const MixerKind* kind : mixer_kinds()) {
    const bool is_there = std::ranges::count(config.mixer_types, kind) > 0;
    if (is_there && kind->rope_size(config) > 0) kinds.emplace_back(kind->name);
  }
  return kinds;
}

ModelFact rope_fact(const ModelConfig& config) {
  const auto kinds = turned_mixers(config);
  if (kinds.empty()) return {"RoPE base", "none", "rope_theta", {}};
  std::string text =
      fmt::format("{:.10g}, in {} layers", config.rope_theta, fmt::join(kinds, ", "));
  if (const auto& scaling = config.rope_scaling) {
    const int64_t context = scaling->original_max_position_embeddings;
    text += context > 1 ? fmt::format("; Llama 3 scaling by {:g} beyond {} tokens", scaling->factor,
                                      with_commas(context))
                        : fmt::format("; linear scaling by {:g}", scaling->factor);
  }
  return {"RoPE base", text, "rope_theta", config.rope_theta};
}

ModelFact bias_fact(const ModelConfig& config) {
  std::vector<std::string> places;
  if (config.attention_bias) places = {"q_proj", "k_proj", "v_proj"};
  if (config.attention_output_bias) places.emplace_back("o_proj");
  const std::string text = places.empty() ? "none" : fmt::format("{}", fmt::join(places, ", "));
  return {"biases", text, "biases", places};
}

ModelFact scaling_fact(const ModelConfig& config) {
  const Json scaling = to_json(config.attn_logits_scaling);
  const std::string text = scaling.is_null()     ? "none"
                           : scaling.is_string() ? scaling.get<std::string>()
                                                 : scaling.dump();
  return {"attention logits scaling", text, "attn_logits_scaling", scaling};
}

/// What of a folder's weights is stored in few bits; a GGUF file's types are in the table of files.
ModelFact quantisation_fact(const Checkpoint& checkpoint) {
  const std::string method = checkpoint.quantisation_method();
  const auto found = try_to_open([&] { return checkpoint.quantised_forms(); });
  Json forms = Json::object();
  std::vector<std::string> parts;
  for (const auto& [form, count] : found.part.value_or(std::map<std::string, int64_t>())) {
    forms[form] = count;
    parts.push_back(fmt::format("{} matrices {}", count, form));
  }
  if (!found.part) parts = {found.reason};
  const std::string text =
      method.empty() ? "none" : fmt::format("{}: {}", method, fmt::join(parts, ", "));
  const Json value = {{"method", method.empty() ? Json() : Json(method)}, {"matrices", forms}};
  return {"quantisation", text, "quantisation", value};
}

/// The matrices of each form that stay in few bits on a CPU, and their bytes in the files.
struct PackedForm {
  int64_t matrices = 0, bytes = 0;
};

std::map<std::string, PackedForm> packed_forms(const Checkpoint& checkpoint) {
  std::map<std::string, PackedForm> forms;
  for (const std::string& name : checkpoint.names()) {
    if (!is_packable(checkpoint, name)) continue;
    PackedForm& form = forms[checkpoint.facts(name).stored];
    ++form.matrices;
    for (const Tensor& part : checkpoint.stored(name)) {
      form.bytes += static_cast<int64_t>(part.nbytes());
    }
  }
  return forms;
}

/// What products on a CPU read as it is stored.
ModelFact packed_fact(const Checkpoint& checkpoint) {
  const auto found = try_to_open([&] { return packed_forms(checkpoint); });
  if (!found.part) return {"packed on a CPU", found.reason, "packed", {}};
  Json value = Json::object();
  std::vector<std::string> parts;
  int64_t bytes = 0;
  for (const auto& [name, form] : *found.part) {
    value[name] = {{"matrices", form.matrices}, {"bytes", form.bytes}};
    parts.push_back(fmt::format("{} matrices {}", form.matrices, name));
    bytes += form.bytes;
  }
  const std::string text = parts.empty()
                               ? "none"
                               : fmt::format("{}: {}, met by rows of 8 bits (--activations)",
                                             fmt::join(parts, ", "), readable_bytes(bytes));
  return {"packed on a CPU", text, "packed", value};
}

ModelFact tokenizer_fact(const Found<Tokenizer>& tokenizer) {
  if (!tokenizer.part) return {"tokenizer", tokenizer.reason, "tokenizer", {}};
  const int64_t tokens = tokenizer.part->vocab_size();
  return {"tokenizer",
          "byte-level BPE, " + with_commas(tokens) + " tokens",
          "tokenizer",
          {{"kind", "byte-level BPE"}, {"tokens", tokens}}};
}

ModelFact stop_fact(const Checkpoint& checkpoint, const Found<Tokenizer>& tokenizer) {
  if (!tokenizer.part) return {"end of text", "unknown without a tokenizer", "eos_token_ids", {}};
  const auto ids = try_to_open([&] { return stop_ids(checkpoint, *tokenizer.part); });
  if (!ids.part) return {"end of text", ids.reason, "eos_token_ids", {}};
  std::vector<std::string> names;
  for (const int32_t id : *ids.part) {
    names.push_back(fmt::format("{} {}", id, tokenizer.part->token_bytes(id)));
  }
  const std::string text = names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
  return {"end of text", text, "eos_token_ids", *ids.part};
}

/// Base models have none, which is no fault of the folder.
ChatTemplate open_chat_template(const std::filesystem::path& folder) {
  HYPENET_CHECK(ChatTemplate::is_in(folder), "none (chat with --template none)");
  return ChatTemplate::load(folder);
}

ModelFact template_fact(const Found<ChatTemplate>& chat) {
  if (!chat.part) return {"chat template", chat.reason, "chat_template", {}};
  const std::string family(chat.part->family_name());
  return {"chat template", family, "chat_template", family};
}

/// Where the text of a turn parts from the next one's, which is where reuse ends.
ModelFact reuse_fact(const Found<Tokenizer>& tokenizer, const Found<ChatTemplate>& chat) {
  ModelFact fact{
      "reuse between turns", "unknown without tokenizer and chat template", "turn_prefixes", {}};
  if (!tokenizer.part || !chat.part) return fact;
  const auto prefixes = try_to_open([&] { return turn_prefixes(*tokenizer.part, *chat.part); });
  if (!prefixes.part) {
    fact.text = prefixes.reason;
    return fact;
  }
  std::vector<std::string> parts;
  fact.value = Json::array();
  for (const TurnPrefix& prefix : *prefixes.part) {
    fact.value.push_back({{"turn", prefix.turn},
                          {"tokens", prefix.tokens},
                          {"shared", prefix.shared},
                          {"end", prefix.end}});
    if (prefix.is_whole()) continue;
    parts.push_back(fmt::format("turn {} begins with {} of {} tokens of turn {}, up to {}",
                                prefix.turn + 1, prefix.shared, prefix.tokens, prefix.turn,
                                Json(prefix.end).dump()));
  }
  fact.text = parts.empty() ? "whole turns" : fmt::format("{}", fmt::join(parts, "; "));
  return fact;
}

}  // namespace

std::vector<ModelFact> model_facts(const Checkpoint& checkpoint, const ModelConfig& config) {
  const auto tokenizer = try_to_open([&] { return open_tokenizer(checkpoint.folder(), config); });
  const auto chat = try_to_open([&] { return open_chat_template(checkpoint.folder()); });
  const bool is_tied = config.tie_word_embeddings;
  return {
      {"vocabulary", with_commas(config.vocab_size), "vocab_size", config.vocab_size},
      context_fact(config),
      feed_forward_fact(config),
      rope_fact(config),
      {"head", is_tied ? "tied to the embedding" : "of its own", "tie_word_embeddings", is_tied},
      bias_fact(config),
      scaling_fact(config),
      quantisation_fact(checkpoint),
      packed_fact(checkpoint),
      stop_fact(checkpoint, tokenizer),
      tokenizer_fact(tokenizer),
      template_fact(chat),
      reuse_fact(tokenizer, chat)};
}

}  // namespace hypenet
