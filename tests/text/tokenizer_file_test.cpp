// A damaged or unsupported tokenizer.json is refused in one line that names the file, the key and
// what was found.
#include "text/tokenizer_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

const Json& small() {
  static const Json kSmall = Json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<e>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})");
  return kSmall;
}

struct BadFile {
  const char* name;
  const char* pointer;  // where the value goes
  const char* value;    // JSON; empty: the key is erased
  const char* error;    // behind the file's name
};

void PrintTo(const BadFile& file, std::ostream* out) { *out << file.name; }

const std::vector<BadFile> kBadFiles = {
    {"no_model", "/model", "", "model: expected an object, found none"},
    {"model_is_no_object", "/model", "3", "model: expected an object, found number"},
    {"no_vocab", "/model/vocab", "", "model: expected the key vocab, found none"},
    {"empty_vocab", "/model/vocab", "{}",
     "model.vocab: expected an object with entries, found an empty one"},
    {"id_is_no_number", "/model/vocab/a", R"("0")",
     R"(model.vocab: a: expected an id from 0 to 16777215, found "0")"},
    {"id_is_negative", "/model/vocab/a", "-1",
     "model.vocab: a: expected an id from 0 to 16777215, found -1"},
    {"id_is_huge", "/model/vocab/a", "4000000000",
     "model.vocab: a: expected an id from 0 to 16777215, found 4000000000"},
    {"no_merges", "/model/merges", "", "model: expected the key merges, found none"},
    {"merge_of_three", "/model/merges/0", R"(["a", "b", "c"])",
     R"(model.merges[0]: expected "a b" or ["a", "b"], found ["a","b","c"])"},
    {"merge_without_space", "/model/merges/0", R"("ab")",
     R"(model.merges[0]: expected two entries with one space between, found "ab")"},
    {"merge_of_unknown", "/model/merges/0", R"("a c")",
     "model.merges[0]: expected entries of model.vocab, found c"},
    {"merge_into_unknown", "/model/merges/0", R"("b a")",
     "model.merges[0]: expected entries of model.vocab, found ba"},
    {"unigram", "/model/type", R"("Unigram")", R"(model: type: expected BPE, found "Unigram")"},
    {"byte_fallback", "/model/byte_fallback", "true",
     "model: byte_fallback: expected false, found true"},
    {"dropout", "/model/dropout", "0.5", "model: dropout: expected null, found 0.5"},
    {"unk_token", "/model/unk_token", R"("a")", "model: unk_token: expected null, found a"},
    {"suffix", "/model/end_of_word_suffix", R"("</w>")",
     "model: end_of_word_suffix: expected null, found </w>"},
    {"unknown_model_key", "/model/window", "1", "model"},
    {"normalizer", "/normalizer", R"({"type": "Lowercase"})",
     "normalizer: expected NFC or null, found Lowercase"},
    {"no_pre_tokenizer", "/pre_tokenizer", "null", "pre_tokenizer: expected ByteLevel, found none"},
    {"pre_tokenizer", "/pre_tokenizer/type", R"("Whitespace")",
     "pre_tokenizer: expected Split, Digits, ByteLevel or a Sequence of them, found Whitespace"},
    {"byte_level_twice", "/pre_tokenizer",
     R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "ByteLevel"}]})",
     "pre_tokenizer.pretokenizers[0]: expected ByteLevel once and last, found ByteLevel before "
     "the last"},
    {"no_byte_level", "/pre_tokenizer", R"({"type": "Digits"})",
     "pre_tokenizer: expected ByteLevel once and last, found Digits last"},
    {"bad_expression", "/pre_tokenizer",
     R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}, {"type": "ByteLevel"}]})",
     "pre_tokenizer.pretokenizers[0]: expected a regular expression that can be read as Oniguruma "
     "does, "
     "found ( without its )"},
    {"bad_behavior", "/pre_tokenizer",
     R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "a"}, "behavior": "Torn"}, {"type": "ByteLevel"}]})",
     "pre_tokenizer.pretokenizers[0]: behavior: expected Isolated, Removed, MergedWithPrevious, "
     "MergedWithNext or Contiguous, found Torn"},
    {"no_pattern", "/pre_tokenizer",
     R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "behavior": "Isolated"}, {"type": "ByteLevel"}]})",
     "pre_tokenizer.pretokenizers[0]: pattern: expected Regex or String, found neither"},
    {"decoder", "/decoder/type", R"("WordPiece")", "decoder: expected ByteLevel, found WordPiece"},
    {"no_decoder", "/decoder", "null", "decoder: expected ByteLevel, found none"},
    {"post_processor", "/post_processor", R"({"type": "BertProcessing"})",
     "post_processor: expected ByteLevel, TemplateProcessing or null, found BertProcessing"},
    {"added_id_differs", "/added_tokens/0/content", R"("ab")",
     "added_tokens: ab: expected the id of model.vocab, 2, found 3"},
    {"added_id_negative", "/added_tokens/0/id", "-3",
     "added_tokens: <e>: expected an id from 0 to 16777215, found -3"},
    {"added_flag_is_a_number", "/added_tokens/0/special", "1",
     "added_tokens[0]: special: expected a boolean, found an integer"},
};

class BadTokenizer : public testing::TestWithParam<BadFile> {};
INSTANTIATE_TEST_SUITE_P(Files, BadTokenizer, testing::ValuesIn(kBadFiles),
                         [](const auto& info) { return info.param.name; });

TEST_P(BadTokenizer, is_refused_by_file_and_key) {
  Json definition = small();
  const Json::json_pointer pointer(GetParam().pointer);
  const std::string value = GetParam().value;
  if (value.empty()) {
    definition[pointer.parent_pointer()].erase(pointer.back());
  } else {
    definition[pointer] = Json::parse(value);
  }
  EXPECT_ERROR(load_json(definition), std::string("tokenizer.json: ") + GetParam().error);
}

TEST(TokenizerFile, the_small_file_of_these_tests_is_good) {
  const Tokenizer tokenizer = load_json(small());
  EXPECT_THAT(tokenizer.encode("abb<e>"), testing::ElementsAre(2, 1, 3));
}

TEST(TokenizerFile, merges_may_be_strings_after_a_version_line) {
  Json definition = small();
  definition["model"]["merges"] = {"#version: 0.2", "a b"};
  EXPECT_THAT(load_json(definition).encode("ab"), testing::ElementsAre(2));
}

TEST(TokenizerFile, a_missing_folder_is_named) {
  const TemporaryFolder folder;
  EXPECT_ERROR(Tokenizer::load(folder / "absent"),
               (folder / "absent").string() + ": expected a model folder, found nothing");
  EXPECT_ERROR(Tokenizer::load(folder.path()), (folder / "tokenizer.json").string());
}

TEST(TokenizerFile, a_truncated_file_is_named) {
  const std::string whole = small().dump();
  EXPECT_ERROR(load_text(whole.substr(0, whole.size() / 2)), "tokenizer.json: expected JSON");
  EXPECT_ERROR(load_text("[]"), "tokenizer.json: expected an object, found array");
}

TEST(TokenizerFile, what_follows_a_nul_is_not_passed_over) {
  const std::string whole = small().dump();
  EXPECT_ERROR(
      load_text(whole + std::string("\0junk", 5)),
      concat("tokenizer.json: expected JSON, found a NUL byte at byte ", whole.size() + 1));
}

}  // namespace
}  // namespace hypenet
