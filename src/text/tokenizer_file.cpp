// Reads tokenizer.json. What would change ids in a way that is not built here is refused by name.
#include "text/tokenizer_file.h"

#include <set>
#include <string_view>

#include "base/error.h"
#include "gguf/model_files.h"

namespace hypenet {

namespace {

// GPT-2's expression, which ByteLevel applies when use_regex is set.
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What Digits splits at: numbers as Rust tells them, whose Unicode (17) is one later than that of
// the expressions.
constexpr const char* kDigitsPattern = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

// Ids beyond this are a damaged file: tables are as long as the largest id.
constexpr int64_t kLargestId = (1 << 24) - 1;

struct ByteLevelFields {
  std::string type;
  bool add_prefix_space = true, trim_offsets = true, use_regex = true;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("type", type);
    field("add_prefix_space", add_prefix_space);
    field("trim_offsets", trim_offsets);
    field("use_regex", use_regex);
  }
};

struct DigitsFields {
  std::string type;
  bool individual_digits = false;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("type", type);
    field("individual_digits", individual_digits);
  }
};

struct SplitPattern {
  std::optional<std::string> regex, string;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("Regex", regex);
    field("String", string);
  }
};

struct SplitFields {
  std::string type, behavior;
  SplitPattern pattern;
  bool invert = false;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("type", type);
    field("pattern", pattern);
    field("behavior", behavior);
    field("invert", invert);
  }
};

/// The keys of `model` without vocab and merges.
struct ModelFields {
  std::string type = "BPE";
  std::optional<double> dropout;
  std::optional<std::string> unk_token, continuing_subword_prefix, end_of_word_suffix;
  bool fuse_unk = false, byte_fallback = false, ignore_merges = false;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("type", type);
    field("dropout", dropout);
    field("unk_token", unk_token);
    field("continuing_subword_prefix", continuing_subword_prefix);
    field("end_of_word_suffix", end_of_word_suffix);
    field("fuse_unk", fuse_unk);
    field("byte_fallback", byte_fallback);
    field("ignore_merges", ignore_merges);
  }
};

const Json& need(const Json& json, const char* key, const std::string& place) {
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  HYPENET_CHECK(json.contains(key), place, ": expected the key ", key, ", found none");
  return json.at(key);
}

std::string type_of(const Json& json, const std::string& place) {
  const Json& type = need(json, "type", place);
  HYPENET_CHECK(type.is_string(), place, ": type: expected a string, found ", json_kind(type));
  return type.get<std::string>();
}

/// The parts of a Sequence listed under `key`, nested ones too; a part alone is a list of one, null
/// an empty list.
struct Part {
  const Json* json;
  std::string place;
};
std::vector<Part> parts_of(const Json& json, const char* key, const std::string& place) {
  if (json.is_null()) return {};
  if (type_of(json, place) != "Sequence") return {{&json, place}};
  const Json& list = need(json, key, place);
  HYPENET_CHECK(list.is_array(), place, ".", key, ": expected an array, found ", json_kind(list));
  std::vector<Part> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    for (Part& part : parts_of(list[i], key, concat(place, ".", key, "[", i, "]"))) {
      parts.push_back(std::move(part));
    }
  }
  return parts;
}

/// Every part must have one of the types.
void check_types(const std::vector<Part>& parts, const std::set<std::string>& types,
                 std::string_view expected) {
  for (const Part& part : parts) {
    const std::string type = type_of(*part.json, part.place);
    HYPENET_CHECK(types.contains(type), part.place, ": expected ", expected, ", found ", type);
  }
}

SplitBehavior split_behavior(const std::string& name, const std::string& place) {
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  HYPENET_CHECK(name == "Contiguous", place,
                ": behavior: expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                "Contiguous, found ",
                name);
  return SplitBehavior::kContiguous;
}

SplitRule split_rule(const Part& part) {
  SplitFields fields;
  read_fields(*part.json, part.place, fields);
  const auto& [regex, string] = fields.pattern;
  HYPENET_CHECK(regex.has_value() != string.has_value(), part.place,
                ": pattern: expected Regex or String, found ", regex ? "both" : "neither");
  HYPENET_CHECK(!(regex ? regex : string)->empty(), part.place,
                ": pattern: expected a pattern, found an empty string");
  SplitRule rule;
  rule.pattern = regex ? regex : string;
  rule.is_literal = string.has_value();
  rule.behavior = split_behavior(fields.behavior, part.place);
  rule.invert = fields.invert;
  return rule;
}

SplitRule digits_rule(const Part& part) {
  DigitsFields fields;
  read_fields(*part.json, part.place, fields);
  SplitRule rule;
  rule.pattern = kDigitsPattern;
  rule.behavior = fields.individual_digits ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  return rule;
}

SplitRule byte_level_rule(const Part& part) {
  ByteLevelFields fields;
  read_fields(*part.json, part.place, fields);
  SplitRule rule;
  if (fields.use_regex) rule.pattern = kByteLevelPattern;
  rule.add_prefix_space = fields.add_prefix_space;
  return rule;
}

void read_normalizer(const Json& json, const std::string& place, TokenizerFile& file) {
  const std::vector<Part> parts = parts_of(json, "normalizers", place);
  check_types(parts, {"NFC"}, "NFC or null");
  file.nfc = !parts.empty();
}

void check_decoder(const Json& json, const std::string& place) {
  const std::vector<Part> parts = parts_of(json, "decoders", place);
  // Fuse joins tokens into one text, which is what decode returns anyhow.
  check_types(parts, {"ByteLevel", "Fuse"}, "ByteLevel");
  HYPENET_CHECK(!parts.empty() && type_of(*parts.front().json, place) == "ByteLevel", place,
                ": expected ByteLevel, found ", parts.empty() ? "none" : "it not first");
}

void check_post_processor(const Json& json, const std::string& place) {
  // encode() adds nothing, so a template is not applied; other kinds may change ids.
  check_types(parts_of(json, "processors", place), {"ByteLevel", "TemplateProcessing"},
              "ByteLevel, TemplateProcessing or null");
}

void read_model_fields(const Json& json, const std::string& place, TokenizerFile& file) {
  ModelFields fields;
  HYPENET_CHECK(!json.contains("type") || json["type"] == "BPE", place,
                ": type: expected BPE, found ", json["type"].dump());
  read_fields(json, place, fields);
  const auto check_absent = [&](const char* key, const std::optional<std::string>& value) {
    HYPENET_CHECK(!value || value->empty(), place, ": ", key, ": expected null, found ", *value);
  };
  check_absent("unk_token", fields.unk_token);
  check_absent("continuing_subword_prefix", fields.continuing_subword_prefix);
  check_absent("end_of_word_suffix", fields.end_of_word_suffix);
  HYPENET_CHECK(fields.dropout.value_or(0) == 0, place, ": dropout: expected null, found ",
                *fields.dropout);
  HYPENET_CHECK(!fields.byte_fallback, place, ": byte_fallback: expected false, found true");
  file.ignore_merges = fields.ignore_merges;
}

void read_vocab(const SortedJson& json, const std::string& place, TokenizerFile& file) {
  HYPENET_CHECK(json.is_object() && !json.empty(), place,
                ": expected an object with entries, found ",
                json.is_object() ? "an empty one" : json.type_name());
  file.vocab.reserve(json.size());
  for (const auto& [entry, id] : json.items()) {
    HYPENET_CHECK(
        id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= kLargestId, place,
        ": ", entry, ": expected an id from 0 to ", kLargestId, ", found ", id.dump());
    file.vocab.emplace_back(entry, id.get<int32_t>());
  }
}

std::pair<std::string, std::string> read_merge(const SortedJson& json, const std::string& place) {
  if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string()) {
    return {json[0].get<std::string>(), json[1].get<std::string>()};
  }
  HYPENET_CHECK(json.is_string(), place, ": expected \"a b\" or [\"a\", \"b\"], found ",
                json.dump());
  const std::string& text = json.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  HYPENET_CHECK(space != std::string::npos && text.find(' ', space + 1) == std::string::npos, place,
                ": expected two entries with one space between, found ", json.dump());
  return {text.substr(0, space), text.substr(space + 1)};
}

void read_merges(const SortedJson& json, const std::string& place, TokenizerFile& file) {
  HYPENET_CHECK(json.is_array(), place, ": expected an array, found ", json.type_name());
  file.merges.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    // Lists copied from a merges.txt may begin with its version line.
    const bool is_version_line =
        json[i].is_string() && json[i].get_ref<const std::string&>().starts_with("#version");
    if (!is_version_line) file.merges.push_back(read_merge(json[i], concat(place, "[", i, "]")));
  }
}

/// Takes a large member out of `model`, so that the rest is small.
SortedJson take(SortedJson& model, const char* key, const std::string& place) {
  HYPENET_CHECK(model.contains(key), place, ": expected the key ", key, ", found none");
  SortedJson value = std::move(model[key]);
  model.erase(key);
  return value;
}

void read_added_tokens(const Json& json, const std::string& place, TokenizerFile& file) {
  read_fields(json, place, file.added_tokens);
  for (const AddedToken& token : file.added_tokens) {
    HYPENET_CHECK(token.id >= 0 && token.id <= kLargestId, place, ": ", token.content,
                  ": expected an id from 0 to ", kLargestId, ", found ", token.id);
  }
}

}  // namespace

std::vector<SplitRule> read_split_rules(const Json& json, const std::string& place) {
  const std::vector<Part> parts = parts_of(json, "pretokenizers", place);
  check_types(parts, {"Split", "Digits", "ByteLevel"},
              "Split, Digits, ByteLevel or a Sequence of them");
  std::vector<SplitRule> rules;
  for (const Part& part : parts) {
    const std::string type = type_of(*part.json, part.place);
    const bool is_last = &part == &parts.back();
    HYPENET_CHECK((type == "ByteLevel") == is_last, part.place,
                  ": expected ByteLevel once and last, found ", type,
                  is_last ? " last" : " before the last");
    rules.push_back(type == "Split"    ? split_rule(part)
                    : type == "Digits" ? digits_rule(part)
                                       : byte_level_rule(part));
    rules.back().place = part.place;
  }
  HYPENET_CHECK(!rules.empty(), place, ": expected ByteLevel, found none");
  return rules;
}

TokenizerFile read_tokenizer_file(const ModelFiles& files) {
  constexpr const char* kName = "tokenizer.json";
  SortedJson root = files.sorted_json(kName);
  TokenizerFile file;
  file.place = files.place(kName);
  const auto place = [&](const char* key) { return concat(file.place, ": ", key); };
  HYPENET_CHECK(root.is_object(), file.place, ": expected an object, found ", root.type_name());
  HYPENET_CHECK(root.contains("model") && root["model"].is_object(), place("model"),
                ": expected an object, found ",
                root.contains("model") ? root["model"].type_name() : "none");
  const SortedJson vocab = take(root["model"], "vocab", place("model"));
  const SortedJson merges = take(root["model"], "merges", place("model"));
  Json rest = root;
  read_normalizer(rest["normalizer"], place("normalizer"), file);
  file.split_rules = read_split_rules(rest["pre_tokenizer"], place("pre_tokenizer"));
  check_post_processor(rest["post_processor"], place("post_processor"));
  check_decoder(rest["decoder"], place("decoder"));
  if (!rest["added_tokens"].is_null())
    read_added_tokens(rest["added_tokens"], place("added_tokens"), file);
  read_model_fields(rest["model"], place("model"), file);
  read_vocab(vocab, place("model.vocab"), file);
  read_merges(merges, place("model.merges"), file);
  return file;
}

}  // namespace hypenet
