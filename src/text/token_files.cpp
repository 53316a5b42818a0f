// The order in which `transformers` adds tokens decides their ids: those with an id first, then the
// special tokens by name, then the list of extra ones.
#include "text/token_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "gguf/model_files.h"

namespace hypenet {

namespace {

constexpr std::array<const char*, 7> kNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

struct FlagFields {
  std::string type, content;
  std::optional<bool> normalized;
  bool single_word = false, lstrip = false, rstrip = false, special = false;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("__type", type);
    field("content", content);
    field("single_word", single_word);
    field("lstrip", lstrip);
    field("rstrip", rstrip);
    field("normalized", normalized);
    field("special", special);
  }
};

/// A token as an object, or as its text alone, which is a special one.
AddedToken read_token(const Json& json, const std::string& place, bool is_special) {
  AddedToken token;
  if (json.is_string()) {
    token.content = json.get<std::string>();
    token.special = true;
    return token;
  }
  HYPENET_CHECK(json.is_object(), place, ": expected a string or an object, found ",
                json_kind(json));
  FlagFields fields;
  read_fields(json, place, fields);
  token.content = fields.content;
  token.single_word = fields.single_word;
  token.lstrip = fields.lstrip;
  token.rstrip = fields.rstrip;
  token.special = fields.special || is_special;
  token.normalized = fields.normalized.value_or(!token.special);
  return token;
}

/// A file as an object; none where it is missing.
std::optional<Json> read_object(const ModelFiles& files, std::string_view name) {
  if (!files.has(name)) return std::nullopt;
  Json json = files.json(name);
  HYPENET_CHECK(json.is_object(), files.place(name), ": expected an object, found ",
                json_kind(json));
  return json;
}

/// Gathers what the files say, and then hands out ids.
class TokenFiles {
 public:
  explicit TokenFiles(const ModelFiles& files) {
    constexpr const char *kConfig = "tokenizer_config.json", *kMap = "special_tokens_map.json";
    const std::string place = files.place(kConfig);
    const Json config = read_object(files, kConfig).value_or(Json::object());
    const bool has_decoder = config.contains("added_tokens_decoder");
    if (has_decoder) read_decoder(config["added_tokens_decoder"], place);
    read_special_tokens(config, place);
    if (has_decoder) return;
    if (const auto json = read_object(files, kMap)) read_special_tokens(*json, files.place(kMap));
    read_encoder(files);
  }

  NamedTokens add_to(TokenizerFile& file) const {
    check_prefix_space(file);
    for (const auto& [id, entry] : by_id_) add_with_id(id, entry, file);
    for (const char* name : kNames) {
      if (named_.contains(name)) add_if_missing(named_.at(name), file);
    }
    for (const auto& [name, token] : others_) add_if_missing(token, file);
    for (const AddedToken& token : extra_) add_if_missing(token, file);
    return {content_of("bos_token"), content_of("eos_token")};
  }

 private:
  struct Entry {
    std::string place;
    AddedToken token;
    bool yields = false;  // to the flags of tokenizer.json
  };

  void read_decoder(const Json& json, const std::string& path) {
    const std::string place = path + ": added_tokens_decoder";
    HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
    for (const auto& [key, value] : json.items()) {
      const bool is_number = !key.empty() && key.size() < 10 &&
                             key.find_first_not_of("0123456789") == std::string::npos;
      HYPENET_CHECK(is_number, place, ": expected ids, found the key ", key);
      const std::string where = concat(place, ": ", key);
      HYPENET_CHECK(value.is_object(), where, ": expected an object, found ", json_kind(value));
      by_id_[std::stoll(key)] = {where, read_token(value, where, false), false};
    }
  }

  /// {"token": id}, the form of old tokenizers.
  void read_encoder(const ModelFiles& files) {
    constexpr const char* kName = "added_tokens.json";
    const Json json = read_object(files, kName).value_or(Json::object());
    for (const auto& [content, id] : json.items()) {
      const std::string where = concat(files.place(kName), ": ", content);
      HYPENET_CHECK(id.is_number_integer(), where, ": expected an integer, found ", json_kind(id));
      AddedToken token;
      token.content = content;
      token.special = is_special(content);
      token.normalized = !token.special;
      by_id_[id.get<int64_t>()] = {where, token, true};
    }
  }

  void read_special_tokens(const Json& json, const std::string& place) {
    std::vector<AddedToken> additional;
    for (const auto& [key, value] : json.items()) {
      const std::string where = concat(place, ": ", key);
      const bool is_name = std::find(kNames.begin(), kNames.end(), key) != kNames.end();
      if (is_name) named_.erase(key);
      if (value.is_null()) continue;
      if (is_name) {
        named_[key] = read_token(value, where, true);
      } else if (key == "extra_special_tokens") {
        read_list(value, where, extra_);
      } else if (key == "additional_special_tokens") {
        read_list(value, where, additional);
      } else if (key.ends_with("_token") && value.is_string()) {
        add_other(key, read_token(value, where, true));
      } else {
        read_switch(key, value, where);
      }
    }
    if (extra_.empty()) extra_ = std::move(additional);
  }

  /// A list, or an object of names.
  void read_list(const Json& json, const std::string& place, std::vector<AddedToken>& list) {
    HYPENET_CHECK(json.is_array() || json.is_object(), place,
                  ": expected an array or an object, found ", json_kind(json));
    for (const auto& [key, value] : json.items()) {
      AddedToken token = read_token(value, concat(place, ": ", key), true);
      if (json.is_object()) {
        add_other(key, std::move(token));
      } else {
        list.push_back(std::move(token));
      }
    }
  }

  void read_switch(const std::string& key, const Json& value, const std::string& place) {
    if (key == "split_special_tokens") {
      HYPENET_CHECK(value == false, place, ": expected false, found ", value.dump());
    } else if (key == "add_prefix_space") {
      HYPENET_CHECK(value.is_boolean(), place, ": expected a boolean, found ", json_kind(value));
      add_prefix_space_ = value.get<bool>();
      prefix_space_place_ = place;
    }
  }

  void add_other(const std::string& name, AddedToken token) {
    const auto known = std::find_if(others_.begin(), others_.end(),
                                    [&](const auto& other) { return other.first == name; });
    if (known == others_.end()) {
      others_.emplace_back(name, std::move(token));
    } else {
      known->second = std::move(token);
    }
  }

  bool has_name(const std::string& content) const {
    const auto is_it = [&](const auto& entry) { return entry.second.content == content; };
    return std::any_of(named_.begin(), named_.end(), is_it) ||
           std::any_of(others_.begin(), others_.end(), is_it);
  }

  bool is_special(const std::string& content) const {
    const auto is_it = [&](const AddedToken& token) { return token.content == content; };
    return has_name(content) || std::any_of(extra_.begin(), extra_.end(), is_it);
  }

  std::optional<std::string> content_of(const std::string& name) const {
    const auto found = named_.find(name);
    return found == named_.end() ? std::nullopt : std::optional(found->second.content);
  }

  /// A lone ByteLevel takes the switch in some versions of `transformers` and keeps its own in
  /// others; other pre-tokenizers keep their own in all.
  void check_prefix_space(const TokenizerFile& file) const {
    if (!add_prefix_space_ || file.split_rules.size() != 1) return;
    const bool own = file.split_rules.front().add_prefix_space;
    const auto name = [](bool value) { return value ? "true" : "false"; };
    HYPENET_CHECK(*add_prefix_space_ == own, prefix_space_place_, ": expected ", name(own),
                  " as in tokenizer.json's pre_tokenizer, found ", name(*add_prefix_space_));
  }

  void add_with_id(int64_t id, const Entry& entry, TokenizerFile& file) const {
    if (entry.token.content.empty()) return;
    AddedToken token = entry.token;
    token.special |= has_name(token.content);
    token.id = id_of(token.content, file);
    HYPENET_CHECK(token.id == id, entry.place, ": ", token.content, ": expected the id ", token.id,
                  ", which the token has or gets in transformers, found ", id);
    AddedToken* known = find(token.content, file);
    if (!known) {
      file.added_tokens.push_back(std::move(token));
    } else if (!entry.yields) {
      token.special |= known->special;
      *known = std::move(token);
    }
  }

  static AddedToken* find(const std::string& content, TokenizerFile& file) {
    const auto found =
        std::find_if(file.added_tokens.begin(), file.added_tokens.end(),
                     [&](const AddedToken& token) { return token.content == content; });
    return found == file.added_tokens.end() ? nullptr : &*found;
  }

  static void add_if_missing(AddedToken token, TokenizerFile& file) {
    if (token.content.empty() || find(token.content, file)) return;
    token.id = id_of(token.content, file);
    file.added_tokens.push_back(std::move(token));
  }

  /// The id that the token has, or the next free one: behind the vocabulary and all added tokens.
  static int64_t id_of(const std::string& content, TokenizerFile& file) {
    if (const AddedToken* known = find(content, file)) return known->id;
    for (const auto& [entry, id] : file.vocab) {
      if (entry == content) return id;
    }
    int64_t next = std::ssize(file.vocab);
    for (const AddedToken& token : file.added_tokens) next = std::max(next, token.id + 1);
    return next;
  }

  std::map<int64_t, Entry> by_id_;
  std::map<std::string, AddedToken> named_;
  std::vector<std::pair<std::string, AddedToken>> others_;  // a model's own names, in order
  std::vector<AddedToken> extra_;
  std::optional<bool> add_prefix_space_;
  std::string prefix_space_place_;
};

}  // namespace

NamedTokens read_token_files(const ModelFiles& files, TokenizerFile& file) {
  return TokenFiles(files).add_to(file);
}

}  // namespace hypenet
