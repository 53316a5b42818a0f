// Ids and texts equal those of the `tokenizers` library on its own outputs; laws that hold for
// every text.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <functional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/text/fixture.h"
#include "text/stretch_cache.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

using std::filesystem::path;

struct Source {
  const char* name;
  path folder;
};

void PrintTo(const Source& source, std::ostream* out) { *out << source.name; }

std::vector<Source> sources() {
  return {{"qwen3_cut", tokenizer_data() / "qwen3-cut"},
          {"llama3_like", tokenizer_data() / "llama3-like"},
          {"smollm2_like", tokenizer_data() / "smollm2-like"},
          {"tiny_teacher", path(HYPENET_SOURCE) / "models" / "tiny-teacher"}};
}

std::vector<TokenizerCase> cases_of(const Source& source) {
  return read_cases(read_json(tokenizer_data() / source.folder.filename() / "cases.json"));
}

std::string stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

std::string random_bytes(Random& random) {
  static const std::vector<std::string> kParts = {
      "the",           " ",  "\n",       "é", "e\u0301", "日本", "👨\u200d👩", "\xF0\x9F", "\xFF",
      "<|endoftext|>", "12", "\xE2\x82", "x", "'s"};
  std::string text;
  for (int64_t n = random.below(12); n > 0; --n) {
    text += kParts[static_cast<size_t>(random.below(std::ssize(kParts)))];
  }
  return text;
}

class TokenizerFixture : public testing::TestWithParam<Source> {
 protected:
  Tokenizer tokenizer_ = Tokenizer::load(GetParam().folder);
};

INSTANTIATE_TEST_SUITE_P(All, TokenizerFixture, testing::ValuesIn(sources()),
                         [](const auto& info) { return info.param.name; });

TEST_P(TokenizerFixture, ids_equal_those_of_tokenizers) {
  const auto cases = cases_of(GetParam());
  ASSERT_GT(cases.size(), 100u);
  for (const auto& item : cases) EXPECT_EQ(tokenizer_.encode(item.text), item.ids) << item.text;
}

TEST_P(TokenizerFixture, texts_equal_those_of_tokenizers) {
  for (const auto& item : cases_of(GetParam())) {
    EXPECT_EQ(tokenizer_.decode(item.ids), item.decoded);
    EXPECT_EQ(tokenizer_.decode(item.ids, true), item.plain);
  }
}

TEST_P(TokenizerFixture, streamed_text_is_the_decoded_text) {
  for (const auto& item : cases_of(GetParam())) {
    EXPECT_EQ(stream(tokenizer_, item.ids, false), item.decoded);
    EXPECT_EQ(stream(tokenizer_, item.ids, true), item.plain);
  }
}

TEST_P(TokenizerFixture, streamed_ids_in_any_order_give_what_decode_gives) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) {
      // The first 300 ids hold all single bytes, which break characters most.
      ids.push_back(static_cast<int32_t>(random.below(i % 3 ? 300 : tokenizer_.vocab_size())));
    }
    EXPECT_EQ(stream(tokenizer_, ids, false), tokenizer_.decode(ids));
  }
}

TEST_P(TokenizerFixture, a_text_gives_the_same_ids_each_time_and_comes_back) {
  Random random(4);
  for (int round = 0; round < 300; ++round) {
    const std::string bytes = random_bytes(random);
    const auto ids = tokenizer_.encode(bytes);
    EXPECT_EQ(tokenizer_.encode(bytes), ids);
    // Decoding repairs and normalises; a second round changes nothing more.
    const std::string text = tokenizer_.decode(ids);
    EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(text)), text);
  }
}

TEST_P(TokenizerFixture, words_of_100_kilobytes_take_no_quadratic_time) {
  const std::clock_t started = std::clock();
  for (const std::string unit : {"a", "ab", "日", " ", "\n", "-=", "the", "\x80"}) {
    std::string text;
    while (text.size() < 100'000) text += unit;
    EXPECT_FALSE(tokenizer_.encode(text).empty());
  }
  // Quadratic merging needs minutes of a processor; this takes milliseconds.
  EXPECT_LT((std::clock() - started) / CLOCKS_PER_SEC, 5);
}

TEST_P(TokenizerFixture, every_entry_has_bytes_and_an_id) {
  const int32_t end = tokenizer_.token_id("<|endoftext|>").value();
  EXPECT_TRUE(tokenizer_.is_special(end));
  EXPECT_EQ(tokenizer_.token_bytes(end), "<|endoftext|>");
  for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
    EXPECT_FALSE(tokenizer_.token_bytes(id).empty()) << id;
  }
}

TEST(Tokenizer, rules_and_flags_do_what_tokenizers_does) {
  const Json base = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
  const Json variants = read_json(tokenizer_data() / "variants.json");
  ASSERT_GT(variants.size(), 40u);
  for (const Json& variant : variants) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    Json definition = base;
    for (const auto& [key, value] : variant["patch"].items()) definition[key] = value;
    const Tokenizer tokenizer = load_json(definition);
    for (const auto& item : read_cases(variant["cases"])) {
      EXPECT_EQ(tokenizer.encode(item.text), item.ids) << item.text;
      EXPECT_EQ(tokenizer.decode(item.ids), item.decoded) << item.text;
      EXPECT_EQ(tokenizer.decode(item.ids, true), item.plain) << item.text;
    }
  }
}

TEST(Tokenizer, reported_files_give_the_ids_of_their_libraries) {
  struct Report {
    const char *name, *text;
    std::vector<int32_t> ids;
  };
  const std::vector<Report> reports = {
      {"han-script-extensions", "\u4E2D\u3002", {160, 116, 255, 159, 222, 224}},
      {"interval-comma", "aab", {64, 64, 65}},
      {"posix-class", " \u180E", {220, 157, 254, 236}},
      {"unicode15-emoji", " \U0001FA77", {290, 253, 102, 115}},
      {"unicode15-emoji",
       " \U0001D2C0\U0001D2C1 1",
       {220, 172, 251, 233, 222, 172, 251, 233, 223, 220, 16}},
      {"tokens-outside-tokenizer-json", "a<tool_call>b</tool_call>", {64, 268, 65, 269}}};
  for (const auto& [name, text, ids] : reports) {
    EXPECT_EQ(Tokenizer::load(tokenizer_data() / "reported" / name).encode(text), ids) << name;
  }
}

TEST(Tokenizer, bytes_without_an_entry_are_dropped_as_tokenizers_does) {
  Json definition = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
  definition["model"] =
      Json::parse(R"({"type": "BPE", "vocab": {"a": 0, "c": 1, "ac": 2}, "merges": ["a c"]})");
  definition["added_tokens"] = Json::array();
  const Tokenizer tokenizer = load_json(definition);
  EXPECT_THAT(tokenizer.encode("abc b c"), testing::ElementsAre(2, 1));
}

TEST(Tokenizer, a_normalized_token_is_found_however_its_text_is_composed) {
  Json definition = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
  definition["normalizer"] = {{"type", "NFC"}};
  definition["added_tokens"] =
      Json::parse(R"([{"id": 600, "content": "e\u0301", "normalized": true, "special": true}])");
  const Tokenizer tokenizer = load_json(definition);
  EXPECT_THAT(tokenizer.encode("e\u0301\u00E9"), testing::ElementsAre(600, 600));
  definition["added_tokens"][0]["normalized"] = false;
  EXPECT_EQ(load_json(definition).encode("e\u0301\u00E9").size(), 3u) << "é is two bytes";
}

/// The same ids and places, from a new cache and from one that knows the text.
void expect_known_alike(const Tokenizer& tokenizer, const std::string& text,
                        std::span<const TextSpan> plain, StretchCache& known) {
  const TokenizedText expected = tokenizer.encode_spans(text, plain);
  for (int i = 0; i < 2; ++i) {
    const TokenizedText found = tokenizer.encode_spans(text, plain, &known);
    EXPECT_EQ(found.ids, expected.ids) << i;
    EXPECT_EQ(found.begins, expected.begins) << i;
  }
}

TEST(StretchCache, known_stretches_become_what_they_became) {
  for (const Source& source : sources()) {
    SCOPED_TRACE(source.name);
    const Tokenizer tokenizer = Tokenizer::load(source.folder);
    StretchCache known;
    std::string text;
    std::vector<TextSpan> plain;
    for (const TokenizerCase& one : cases_of(source)) {
      if (!is_utf8(one.text)) continue;
      const size_t begin = text.size();
      for (size_t i = 0; i < 1 + 200 / (one.text.size() + 1); ++i) text += one.text;
      if (one.text.size() % 2 == 0) plain.push_back({begin, text.size()});
      text += "<|im_start|>";
      expect_known_alike(tokenizer, text, plain, known);
      expect_known_alike(tokenizer, text, {}, known);
    }
    EXPECT_GT(known.bytes(), text.size() / 4) << "nothing was kept";
  }
}

TEST(StretchCache, composed_text_and_tokens_of_normalized_text_stay_what_they_are) {
  Json definition = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
  definition["normalizer"] = {{"type", "NFC"}};
  std::string text;
  for (int i = 0; i < 100; ++i) text += "e\u0301\u00E9 ";
  StretchCache known;
  expect_known_alike(load_json(definition), text + "<|im_start|>" + text, {}, known);
  EXPECT_GT(known.bytes(), 0u);
  definition["added_tokens"] =
      Json::parse(R"([{"id": 600, "content": "e\u0301", "normalized": true, "special": true}])");
  StretchCache unused;
  const TextSpan plain[] = {{0, 40}};
  expect_known_alike(load_json(definition), text, plain, unused);
  EXPECT_EQ(unused.bytes(), 0u);
}

TEST(StretchCache, the_stretches_used_last_stay) {
  const auto entry = [](size_t size) {
    return std::make_shared<TokenizedText>(TokenizedText{{1}, {size}});
  };
  StretchCache known(250);
  const std::string first(100, 'a'), second(100, 'b'), third(100, 'c');
  known.put(first, entry(1)), known.put(second, entry(2));
  EXPECT_EQ(known.bytes(), 2 * 112u);
  ASSERT_NE(known.find(first), nullptr);
  known.put(third, entry(3));
  EXPECT_EQ(known.find(second), nullptr);
  EXPECT_EQ(known.find(first)->begins[0], 1u);
  EXPECT_EQ(known.find(third)->begins[0], 3u);
  known.put(std::string(300, 'd'), entry(4));
  EXPECT_EQ(known.find(std::string(300, 'd')), nullptr) << "it would push out all others";
  EXPECT_EQ(known.bytes(), 2 * 112u);
}

TEST(Tokenizer, ids_outside_the_vocabulary_give_nothing) {
  const Tokenizer tokenizer = Tokenizer::load(sources().back().folder);
  EXPECT_EQ(tokenizer.vocab_size(), 4096);
  const std::vector<int32_t> ids = {-1, 4096, 1 << 30, tokenizer.token_id("a").value()};
  EXPECT_EQ(tokenizer.decode(ids), "a");
  EXPECT_EQ(tokenizer.token_bytes(-1), "");
  EXPECT_FALSE(tokenizer.is_special(4096));
  EXPECT_EQ(tokenizer.token_id("no such token"), std::nullopt);
}

TEST(Tokenizer, end_and_beginning_come_from_tokenizer_config) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(sources().back().folder / "tokenizer.json", folder / "tokenizer.json");
  EXPECT_EQ(Tokenizer::load(folder.path()).eos_id(), std::nullopt);
  write_file(
      folder / "tokenizer_config.json",
      R"({"bos_token": {"content": "<|im_start|>", "lstrip": false}, "eos_token": "<|endoftext|>"})");
  EXPECT_EQ(Tokenizer::load(folder.path()).eos_id(), 0);
  EXPECT_EQ(Tokenizer::load(folder.path()).bos_id(), 1);
  write_file(folder / "tokenizer_config.json", R"({"bos_token": null, "eos_token": null})");
  EXPECT_EQ(Tokenizer::load(folder.path()).bos_id(), std::nullopt);
}

TEST(Tokenizer, the_fingerprint_is_of_all_that_decides_ids_and_of_nothing_else) {
  const path teacher = sources().back().folder;
  const Json definition = read_json(teacher / "tokenizer.json");
  const std::string own = load_json(definition).fingerprint();
  EXPECT_EQ(own.size(), 16u);
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json changed = definition;
    change(changed);
    return load_json(changed).fingerprint();
  };
  const std::function<void(Json&)> deciding[] = {
      [](Json& json) { json["model"]["merges"].erase(json["model"]["merges"].size() - 1); },
      [](Json& json) { std::swap(json["model"]["merges"][0], json["model"]["merges"][1]); },
      [](Json& json) { json["model"]["ignore_merges"] = true; },
      [](Json& json) {
        json["normalizer"] = {{"type", "NFC"}};
      },
      [](Json& json) { json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false; },
      [](Json& json) { json["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; },
      [](Json& json) { json["added_tokens"][1]["lstrip"] = true; },
      [](Json& json) { std::swap(json["model"]["vocab"]["a"], json["model"]["vocab"]["b"]); }};
  std::set<std::string> found = {own};
  for (const auto& change : deciding) {
    EXPECT_TRUE(found.insert(with(change)).second) << found.size() << ". change";
  }
  EXPECT_EQ(with([](Json& json) { json["truncation"] = {{"max_length", 8}}; }), own);
  EXPECT_NE(Tokenizer::load(teacher).fingerprint(), own)
      << "its tokenizer_config.json names an EOS";
}

TEST(StreamDecoder, holds_bytes_back_until_the_character_is_complete) {
  const Tokenizer tokenizer = Tokenizer::load(sources().back().folder);
  // U+1F980 is four bytes, each an entry of its own in this small vocabulary.
  const auto ids = tokenizer.encode("a\U0001F980b");
  ASSERT_EQ(ids.size(), 6u);
  StreamDecoder decoder(tokenizer);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(decoder.push(id));
  EXPECT_THAT(pieces, testing::ElementsAre("a", "", "", "", "\U0001F980", "b"));
  EXPECT_EQ(decoder.push(ids[1]), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, a_broken_character_becomes_one_replacement_when_that_is_certain) {
  const Tokenizer tokenizer = Tokenizer::load(sources().back().folder);
  const auto crab = tokenizer.encode("\U0001F980");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(crab[0]), "");
  EXPECT_EQ(decoder.push(crab[1]), "");
  EXPECT_EQ(decoder.push(tokenizer.token_id("b").value()), "\uFFFDb");
  EXPECT_EQ(decoder.push(0), "") << "special tokens are skipped";
}

}  // namespace
}  // namespace hypenet
