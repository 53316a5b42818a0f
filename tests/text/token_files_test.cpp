// Tokens that other files than tokenizer.json name: ids as `transformers` gives them.
#include "text/token_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

/// The cases of the fixture that `transformers` reads in another way than hypenet may.
bool is_refused(const std::string& name) {
  return name == "an id that is not the next" || name == "two tokens at swapped ids" ||
         name == "split_special_tokens";
}

Tokenizer load(const Json& files) {
  const TemporaryFolder folder;
  write_json(folder / "tokenizer.json",
             read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json"));
  for (const auto& [name, content] : files.items()) write_json(folder / name, content);
  return Tokenizer::load(folder.path());
}

Tokenizer load_config(const char* config) {
  return load({{"tokenizer_config.json", Json::parse(config)}});
}

TEST(TokenFiles, ids_equal_those_of_transformers) {
  const Json cases = read_json(tokenizer_data() / "token_files.json");
  ASSERT_GT(cases.size(), 25u);
  for (const Json& item : cases) {
    SCOPED_TRACE(item["name"].get<std::string>());
    if (is_refused(item["name"].get<std::string>())) {
      EXPECT_THROW(load(item["files"]), Error);
      continue;
    }
    const Tokenizer tokenizer = load(item["files"]);
    for (size_t i = 0; i < item["texts"].size(); ++i) {
      const auto ids = tokenizer.encode(item["texts"][i].get<std::string>());
      EXPECT_EQ(ids, item["ids"][i].get<std::vector<int32_t>>()) << item["texts"][i];
      EXPECT_EQ(tokenizer.decode(ids, true), item["plain"][i].get<std::string>());
    }
  }
}

TEST(TokenFiles, a_special_token_that_is_missing_gets_the_next_id) {
  const Tokenizer tokenizer = load_config(R"({"bos_token": "<s>", "eos_token": "<|endoftext|>"})");
  EXPECT_EQ(tokenizer.bos_id(), 603);
  EXPECT_EQ(tokenizer.eos_id(), 600);
  EXPECT_EQ(tokenizer.vocab_size(), 604);
}

TEST(TokenFiles, what_would_give_other_ids_is_refused_by_name) {
  EXPECT_ERROR(load_config(R"({"added_tokens_decoder": {"700": {"content": "<x>"}}})"),
               "added_tokens_decoder: 700: <x>: expected the id 603, which the token has or gets "
               "in transformers, found 700");
  EXPECT_ERROR(load_config(R"({"split_special_tokens": true})"),
               "tokenizer_config.json: split_special_tokens: expected false, found true");
  EXPECT_ERROR(
      load_config(R"({"eos_token": 2})"),
      "tokenizer_config.json: eos_token: expected a string or an object, found an integer");
  EXPECT_ERROR(load_config(R"({"added_tokens_decoder": {"x": {"content": "<x>"}}})"),
               "added_tokens_decoder: expected ids, found the key x");
  EXPECT_ERROR(load_config(R"({"added_tokens_decoder": {"603": {"content": "<x>", "strip": 1}}})"),
               "unknown key \"strip\"");
  EXPECT_ERROR(load_config(R"({"additional_special_tokens": "<x>"})"),
               "additional_special_tokens: expected an array or an object, found a string");
}

TEST(TokenFiles, a_lone_byte_level_must_agree_on_the_prefix_space) {
  const TemporaryFolder folder;
  Json definition = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
  definition["pre_tokenizer"] = Json::parse(
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})");
  write_json(folder / "tokenizer.json", definition);
  write_file(folder / "tokenizer_config.json", R"({"add_prefix_space": true})");
  EXPECT_ERROR(Tokenizer::load(folder.path()), "add_prefix_space: expected false");
}

}  // namespace
}  // namespace hypenet
