// tokenizer.json. GGUF names the steps in front of BPE and has no room for them: they stand here.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/join.h"
#include "gguf/published_files.h"

namespace hypenet {
namespace {

constexpr const char* kModel = "tokenizer.ggml.model";
constexpr const char* kPre = "tokenizer.ggml.pre";
constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kMerges = "tokenizer.ggml.merges";

/// tokenizer.ggml.token_type.
constexpr int64_t kNormal = 1, kControl = 3, kUserDefined = 4, kLast = 6;

/// Llama 3's expression, whose numbers go by threes, and Qwen2's, whose digits go alone.
std::string words_of(std::string_view number) {
  return concat(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)", number,
                R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
}

SortedJson byte_level(bool has_words) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", has_words},
          {"use_regex", has_words}};
}

SortedJson sequence(SortedJson first, SortedJson second) {
  return {{"type", "Sequence"},
          {"pretokenizers", SortedJson::array({std::move(first), std::move(second)})}};
}

SortedJson split(const std::string& expression) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", expression}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

struct Steps {
  std::string_view name;  // tokenizer.ggml.pre
  SortedJson (*pre_tokenizer)();
  bool normalizes = false, ignores_merges = false;
};

const auto kSteps = std::to_array<Steps>(
    {{"gpt-2", [] { return byte_level(true); }},
     {"default", [] { return byte_level(true); }},
     {"smollm",
      [] {
        return sequence({{"type", "Digits"}, {"individual_digits", true}}, byte_level(true));
      }},
     {"qwen2", [] { return sequence(split(words_of(R"(\p{N})")), byte_level(false)); }, true},
     {"llama-bpe", [] { return sequence(split(words_of(R"(\p{N}{1,3})")), byte_level(false)); },
      false, true}});

const Steps& steps_of(const GgufKeys& keys) {
  const std::string_view name = keys.text(kPre, "default");
  const auto* const found = std::ranges::find(kSteps, name, &Steps::name);
  if (found != kSteps.end()) return *found;
  std::vector<std::string_view> known;
  known.reserve(kSteps.size());
  for (const Steps& steps : kSteps) known.push_back(steps.name);
  throw Error(
      concat(keys.place(kPre), ": expected ", join(known, ", "), ", found ", excerpt(name)));
}

/// Of each token; all are normal where the file does not say.
std::vector<int64_t> types_of(const GgufKeys& keys, size_t tokens) {
  if (!keys.has(kTypes)) return std::vector(tokens, kNormal);
  std::vector<int64_t> types = keys.integers(kTypes);
  HYPENET_CHECK(types.size() == tokens, keys.place(kTypes), ": expected ", tokens,
                " entries, one a token, found ", types.size());
  const auto other =
      std::ranges::find_if(types, [](int64_t type) { return type < kNormal || type > kLast; });
  HYPENET_CHECK(other == types.end(), keys.place(kTypes), "[", other - types.begin(),
                "]: expected ", kNormal, " to ", kLast, ", found ", *other);
  return types;
}

SortedJson added_token(size_t id, std::string_view content, bool is_special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", is_special}};
}

}  // namespace

std::vector<TokenizerSteps> known_tokenizer_steps() {
  std::vector<TokenizerSteps> known;
  for (const Steps& steps : kSteps) {
    // llama.cpp has another expression of its own under this name.
    if (steps.name == "default") continue;
    known.push_back({steps.name, steps.pre_tokenizer(), steps.normalizes, steps.ignores_merges});
  }
  return known;
}

SortedJson published_tokenizer(const GgufModel& model) {
  const GgufKeys& keys = model.keys();
  const std::string_view kind = keys.text(kModel);
  HYPENET_CHECK(kind == "gpt2", keys.place(kModel), ": expected gpt2 (byte-level BPE), found ",
                excerpt(kind), kind == "llama" ? " (SentencePiece)" : "");
  const Steps& steps = steps_of(keys);
  const auto tokens = keys.texts(kTokens);
  const auto types = types_of(keys, tokens.size());
  // Added tokens behind the last ordinary one, and rows that no token uses, are no entries.
  const auto last = std::find(types.rbegin(), types.rend(), kNormal);
  const auto entries = static_cast<size_t>(types.rend() - last);
  SortedJson added = SortedJson::array(), vocab = SortedJson::object();
  for (size_t id = 0; id < tokens.size(); ++id) {
    const bool is_control = types[id] == kControl;
    if (is_control || types[id] == kUserDefined) {
      added.push_back(added_token(id, tokens[id], is_control));
    }
    if (id >= entries) continue;
    const bool is_first = vocab.emplace(std::string(tokens[id]), id).second;
    HYPENET_CHECK(is_first, keys.place(kTokens), "[", id, "]: expected a token of its own, found ",
                  excerpt(tokens[id]), " twice");
  }
  SortedJson merges = SortedJson::array();
  for (const std::string_view merge : keys.texts(kMerges)) merges.push_back(merge);
  return {{"version", "1.0"},
          {"added_tokens", std::move(added)},
          {"normalizer", steps.normalizes ? SortedJson{{"type", "NFC"}} : SortedJson()},
          {"pre_tokenizer", steps.pre_tokenizer()},
          {"post_processor", byte_level(false)},
          {"decoder", byte_level(true)},
          {"model",
           {{"type", "BPE"},
            {"ignore_merges", steps.ignores_merges},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}}}};
}

}  // namespace hypenet
