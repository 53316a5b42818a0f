// llama.cpp knows a pre-tokenizer by its name alone: the folder's is compared with what the known
// names stand for.
#include "text/gguf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/join.h"
#include "gguf/model_files.h"
#include "gguf/published_files.h"
#include "text/chat_template.h"
#include "text/stop_ids.h"
#include "text/token_files.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

namespace hypenet {
namespace {

/// tokenizer.ggml.token_type.
constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

constexpr const char* kConfigFile = "tokenizer_config.json";

std::string token_key(std::string_view name) { return concat("tokenizer.ggml.", name); }

bool splits_alike(const SplitRule& a, const SplitRule& b) {
  return a.pattern == b.pattern && a.is_literal == b.is_literal && a.behavior == b.behavior &&
         a.invert == b.invert && a.add_prefix_space == b.add_prefix_space;
}

/// The name of what stands in front of BPE.
std::string_view pre_tokenizer_name(const TokenizerFile& file) {
  std::vector<std::string_view> names;
  for (const TokenizerSteps& steps : known_tokenizer_steps()) {
    names.push_back(steps.name);
    const auto rules = read_split_rules(Json(steps.pre_tokenizer), std::string(steps.name));
    if (!std::ranges::equal(rules, file.split_rules, splits_alike)) continue;
    HYPENET_CHECK(file.nfc == steps.normalizes, file.place, ": normalizer: expected ",
                  steps.normalizes ? "NFC" : "null", " (as ", steps.name, " has it), found ",
                  file.nfc ? "NFC" : "null");
    HYPENET_CHECK(file.ignore_merges == steps.ignores_merges, file.place,
                  ": model.ignore_merges: expected ", steps.ignores_merges ? "true" : "false",
                  " (as ", steps.name, " has it), found the other");
    return steps.name;
  }
  throw Error(concat(file.place, ": pre_tokenizer: expected one that llama.cpp has a name for (",
                     join(names, ", "), "), found another"));
}

void check_is_found_alike(const AddedToken& token, const std::string& place) {
  const char* const flag = token.single_word ? "single_word"
                           : token.lstrip    ? "lstrip"
                           : token.rstrip    ? "rstrip"
                                             : nullptr;
  HYPENET_CHECK(flag == nullptr, place, ": added_tokens: ", token.content, ": ", flag,
                ": expected false (a GGUF file has no place for it), found true");
}

struct TokenList {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;

  void put(int64_t id, const std::string& token, int32_t type, const std::string& place) {
    HYPENET_CHECK(id < std::ssize(tokens), place, ": expected ids below ", tokens.size(),
                  " (config.json: vocab_size), found ", id);
    tokens[static_cast<size_t>(id)] = token, types[static_cast<size_t>(id)] = type;
  }
};

/// One for each row of the embedding.
TokenList list_tokens(const TokenizerFile& file, int64_t rows) {
  TokenList list;
  for (int64_t id = 0; id < rows; ++id) list.tokens.push_back(concat("[PAD", id, "]"));
  list.types.assign(static_cast<size_t>(rows), kUnused);
  for (const auto& [entry, id] : file.vocab) list.put(id, entry, kNormal, file.place);
  for (const AddedToken& token : file.added_tokens) {
    check_is_found_alike(token, file.place);
    list.put(token.id, token.content, token.special ? kControl : kUserDefined, file.place);
  }
  return list;
}

std::vector<std::string> list_merges(const TokenizerFile& file) {
  std::vector<std::string> merges;
  merges.reserve(file.merges.size());
  for (const auto& [first, second] : file.merges) merges.push_back(concat(first, ' ', second));
  return merges;
}

/// The text of a token that tokenizer_config.json names: a text, or an object with its content.
std::optional<std::string> named_token(const Json& config, const char* name) {
  if (!config.is_object() || !config.contains(name)) return std::nullopt;
  const Json& value = config.at(name);
  const Json& text = value.is_object() && value.contains("content") ? value.at("content") : value;
  return text.is_string() ? std::optional(text.get<std::string>()) : std::nullopt;
}

/// Ids by their names in the keys: "eos" ...
class NamedIds {
 public:
  NamedIds(const std::filesystem::path& folder, const TokenizerOwner& owner)
      : tokenizer_(Tokenizer::load(folder)),
        is_qwen_(owner.architecture.starts_with("qwen")),
        ends_(read_stop_ids(folder, tokenizer_)) {
    const ModelFiles files(folder);
    const Json config = files.has(kConfigFile) ? files.json(kConfigFile) : Json();
    const auto id_of = [&](const char* name) {
      const auto text = named_token(config, name);
      return text ? tokenizer_.token_id(*text) : std::nullopt;
    };
    // What a Qwen's config.json calls BOS stands in front of no text.
    bos_ = or_else(tokenizer_.bos_id(), is_qwen_ ? owner.config.at("bos_token_id") : Json());
    eos_ = or_else(tokenizer_.eos_id(), owner.config.at("eos_token_id"));
    padding_ = id_of("pad_token"), unknown_ = id_of("unk_token");
  }

  void add(const std::function<void(const std::string&)>& tell, GgufKeyList& keys) const {
    const bool pads_with_end = padding_ && std::ranges::find(ends_, *padding_) != ends_.end();
    put("bos", bos_, keys), put("eos", eos_, keys), put("unknown", unknown_, keys);
    // A Qwen's is read as an end.
    const bool has_padding = padding_ && (!is_qwen_ || pads_with_end);
    if (has_padding) put("padding", padding_, keys);
    std::vector<const char*> free = {"eom", "eot"};
    for (const int32_t end : ends_) {
      if (end == eos_ || (is_qwen_ && has_padding && end == padding_)) continue;
      if (free.empty()) {
        tell(
            concat("a GGUF file has room for three tokens that end a text: ", end, " is left out"));
        continue;
      }
      put(free.back(), end, keys);
      free.pop_back();
    }
  }

 private:
  static std::optional<int32_t> or_else(std::optional<int32_t> id, const Json& other) {
    return id || other.is_null() ? id : std::optional(other.get<int32_t>());
  }
  static void put(std::string_view name, std::optional<int32_t> id, GgufKeyList& keys) {
    if (id) keys.add_size(token_key(concat(name, "_token_id")), *id);
  }

  Tokenizer tokenizer_;
  bool is_qwen_;
  std::vector<int32_t> ends_;
  std::optional<int32_t> bos_, eos_, padding_, unknown_;
};

/// The processor of a sequence that puts tokens around a text; null where there is none.
Json template_of(const Json& processor) {
  if (!processor.is_object()) return nullptr;
  if (processor.value("type", "") == "TemplateProcessing") return processor.value("single", Json());
  for (const Json& part : processor.value("processors", Json::array())) {
    if (Json found = template_of(part); !found.is_null()) return found;
  }
  return nullptr;
}

/// Whether published code puts BOS before and EOS behind a text. This program does neither.
void add_surroundings(const ModelFiles& files, GgufKeyList& keys) {
  SortedJson file = files.sorted_json("tokenizer.json");
  const Json around = template_of(Json(file.value("post_processor", SortedJson())));
  const auto is_token = [](const Json& part) { return part.contains("SpecialToken"); };
  if (around.is_array() && !around.empty()) {
    keys.add_flag(token_key("add_bos_token"), is_token(around.front()));
    return keys.add_flag(token_key("add_eos_token"), is_token(around.back()));
  }
  const Json config = files.has(kConfigFile) ? files.json(kConfigFile) : Json::object();
  for (const char* name : {"add_bos_token", "add_eos_token"}) {
    keys.add_flag(token_key(name), config.contains(name) && config.at(name) == true);
  }
}

}  // namespace

void add_tokenizer_keys(const std::filesystem::path& folder, const TokenizerOwner& owner,
                        const std::function<void(const std::string&)>& tell, GgufKeyList& keys) {
  const ModelFiles files(folder);
  TokenizerFile file = read_tokenizer_file(files);
  read_token_files(files, file);
  keys.add_text(token_key("model"), "gpt2");
  keys.add_text(token_key("pre"), pre_tokenizer_name(file));
  const TokenList list = list_tokens(file, owner.vocab_size);
  keys.add_texts(token_key("tokens"), list.tokens);
  keys.add_integers(token_key("token_type"), list.types);
  keys.add_texts(token_key("merges"), list_merges(file));
  NamedIds(folder, owner).add(tell, keys);
  add_surroundings(files, keys);
  const auto chat = ChatTemplate::text_in(folder);
  if (chat) keys.add_text("tokenizer.chat_template", *chat);
}

}  // namespace hypenet
