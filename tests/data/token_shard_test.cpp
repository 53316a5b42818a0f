// Token shards: what was tokenized is read back, over shards and around the end; broken folders are
// refused.
#include "data/token_shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "data/held_out.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/token_dataset.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const fs::path kTokenizer = HYPENET_SOURCE "/models/tiny-teacher";

std::vector<int32_t> read(const TokenDataset& dataset, int64_t begin, size_t count) {
  std::vector<int32_t> tokens(count);
  dataset.read(begin, tokens);
  return tokens;
}

std::vector<int32_t> read_all(const TokenDataset& dataset) {
  return read(dataset, 0, static_cast<size_t>(dataset.tokens()));
}

class TokenizeCorpus : public testing::Test {
 protected:
  TokenizeCorpus() {
    write_file(folder_ / "a.jsonl",
               "{\"text\": \"Call me Ishmael.\"}\n{\"text\": \"\"}\n{\"text\": \"The end\"}\n");
    write_file(folder_ / "b.txt", "Another file, 1234.");
    for (const char* text : {"Call me Ishmael.", "The end", "Another file, 1234."}) {
      const std::vector<int32_t> ids = tokenizer_.encode(text);
      expected_.insert(expected_.end(), ids.begin(), ids.end());
      expected_.push_back(*tokenizer_.eos_id());
    }
  }

  TokenizeProgress tokenize(const TokenizeOptions& options = {}) {
    return tokenize_corpus({folder_ / "a.jsonl", folder_ / "b.txt"}, tokenizer_, out_, options);
  }

  TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
  Tokenizer tokenizer_ = Tokenizer::load(kTokenizer);
  std::vector<int32_t> expected_;
};

TEST_F(TokenizeCorpus, documents_are_joined_by_eos) {
  const TokenizeProgress progress = tokenize();
  const TokenDataset dataset(out_);
  EXPECT_EQ(read_all(dataset), expected_);
  EXPECT_EQ(dataset.vocab_size(), tokenizer_.vocab_size());
  EXPECT_EQ(dataset.fingerprint(), tokenizer_.fingerprint());
  EXPECT_EQ(progress.documents, 3);
  EXPECT_EQ(progress.tokens, std::ssize(expected_));
  EXPECT_EQ(progress.bytes, 16 + 7 + 19);
}

TEST_F(TokenizeCorpus, tokens_are_of_one_tokenizer_even_where_the_vocabulary_is_anothers) {
  tokenize();
  Json definition = read_json(kTokenizer / "tokenizer.json");
  definition["model"]["merges"] = Json::array();
  fs::create_directories(folder_ / "other");
  fs::copy(kTokenizer / "tokenizer_config.json", folder_ / "other");
  write_json(folder_ / "other/tokenizer.json", definition);
  const Tokenizer other = Tokenizer::load(folder_ / "other");
  ASSERT_EQ(vocabulary_fingerprint(other), vocabulary_fingerprint(tokenizer_));
  ASSERT_NE(other.encode("The end"), tokenizer_.encode("The end"));

  std::vector<std::string> told;
  const auto tell = [&](const std::string& text) { told.push_back(text); };
  const std::string refusal =
      concat("out: expected tokens of this tokenizer (fingerprint ", other.fingerprint(),
             "), found those of another one (fingerprint ", tokenizer_.fingerprint(), ")");
  check_tokenizer(TokenDataset(out_), tokenizer_, tell);
  EXPECT_ERROR(check_tokenizer(TokenDataset(out_), other, tell), refusal);
  EXPECT_EQ(read_held_out({out_.string()}, "text", tokenizer_, tell), expected_);
  EXPECT_ERROR(read_held_out({out_.string()}, "text", other, tell), refusal);
  EXPECT_THAT(told, IsEmpty());

  Json dataset = read_json(out_ / "dataset.json");
  dataset["tokenizer"] = vocabulary_fingerprint(tokenizer_);
  write_json(out_ / "dataset.json", dataset);
  check_tokenizer(TokenDataset(out_), other, tell);
  EXPECT_THAT(told, ElementsAre(HasSubstr("out: made by an earlier program")));
}

TEST_F(TokenizeCorpus, many_shards_read_as_one_row) {
  tokenize({.shard_tokens = 3});
  EXPECT_EQ(std::distance(fs::directory_iterator(out_), {}), (std::ssize(expected_) + 2) / 3 + 1);
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
}

TEST_F(TokenizeCorpus, it_stops_after_max_tokens) {
  EXPECT_EQ(tokenize({.max_tokens = 4}).tokens, 4);
  expected_.resize(4);
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
}

TEST_F(TokenizeCorpus, progress_is_reported_after_each_document) {
  std::vector<int64_t> documents;
  tokenize_corpus(
      {folder_ / "a.jsonl"}, tokenizer_, out_, {},
      [&](const TokenizeProgress& progress) { documents.push_back(progress.documents); });
  EXPECT_THAT(documents, ElementsAre(1, 2));
}

/// More than several threads take at once, in lines of JSON.
class LongCorpus : public TokenizeCorpus {
 protected:
  static constexpr int kDocuments = 60;

  LongCorpus() {
    expected_.clear();
    for (int i = 0; i < kDocuments; ++i) {
      std::string text;
      for (int word = 0; word < 400 * (1 + i % 7); ++word) text += concat(word * i, " words ");
      lines_ += Json{{"text", text}}.dump() + "\n";
      const std::vector<int32_t> ids = tokenizer_.encode(text);
      expected_.insert(expected_.end(), ids.begin(), ids.end());
      expected_.push_back(*tokenizer_.eos_id());
    }
    write_file(folder_ / "b.txt", "");
  }

  std::string lines_;
};

TEST_F(LongCorpus, documents_keep_their_order) {
  write_file(folder_ / "a.jsonl", lines_);
  EXPECT_EQ(tokenize().documents, kDocuments);
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
}

TEST_F(LongCorpus, what_is_read_ahead_of_max_tokens_does_not_count) {
  const TokenizeOptions options{.max_tokens = std::ssize(expected_),
                                .on_bad = OnBadDocument::kFail};
  write_file(folder_ / "a.jsonl", lines_ + "{}\n");
  EXPECT_EQ(tokenize(options).documents, kDocuments);
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
  TokenizeOptions more = options;
  more.max_tokens += 1;
  EXPECT_ERROR(tokenize(more), "a.jsonl:61: expected field text, found none");
  more = {.max_tokens = std::ssize(expected_) / 2};
  write_file(folder_ / "a.jsonl", "{}\n" + lines_ + "{}\n");
  EXPECT_EQ(tokenize(more).bad.bad(), 1);
  more.max_tokens = 0;
  EXPECT_EQ(tokenize(more).bad.bad(), 2);
}

TEST_F(LongCorpus, it_ends_where_a_report_throws) {
  write_file(folder_ / "a.jsonl", lines_);
  int64_t reports = 0;
  EXPECT_ERROR(tokenize_corpus({folder_ / "a.jsonl"}, tokenizer_, out_, {},
                               [&](const TokenizeProgress&) {
                                 ++reports;
                                 throw Error("stopped");
                               }),
               "stopped");
  EXPECT_EQ(reports, 1);
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(TokenizeCorpus, a_failure_leaves_the_old_dataset) {
  tokenize();
  write_file(folder_ / "b.txt", "");
  write_file(folder_ / "a.jsonl", "{\"text\": \"fine\"}\n{}\n");
  EXPECT_ERROR(tokenize({.on_bad = OnBadDocument::kFail}),
               "a.jsonl:2: expected field text, found none");
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
  EXPECT_FALSE(fs::exists(folder_ / "out.hypenet-partial"));
}

TEST_F(TokenizeCorpus, bad_documents_are_left_out_and_recorded) {
  const std::string good = read_file(folder_ / "a.jsonl");
  tokenize();
  EXPECT_FALSE(read_json(out_ / "dataset.json").contains("left_out"));
  write_file(folder_ / "a.jsonl", "{\"text\": null}\n" + good);
  EXPECT_EQ(tokenize().bad.bad(), 1);
  EXPECT_EQ(read_all(TokenDataset(out_)), expected_);
  const Json left_out = read_json(out_ / "dataset.json")["left_out"];
  EXPECT_EQ(left_out["null instead of a string"]["documents"], 1);
  EXPECT_EQ(left_out["null instead of a string"]["first"],
            (folder_ / "a.jsonl").string() + ":1: text: expected a string, found null");
}

TEST_F(TokenizeCorpus, an_empty_corpus_is_an_error) {
  write_file(folder_ / "a.jsonl", "{\"text\": \"\"}\n");
  write_file(folder_ / "b.txt", "");
  EXPECT_ERROR(tokenize(), out_.string() + ": expected documents with text, found none in 2 files");
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(TokenizeCorpus, a_tokenizer_without_eos_is_an_error) {
  const fs::path bare = folder_ / "bare";
  fs::create_directories(bare);
  fs::copy_file(kTokenizer / "tokenizer.json", bare / "tokenizer.json");
  EXPECT_ERROR(tokenize_corpus({folder_ / "b.txt"}, Tokenizer::load(bare), out_, {}),
               "expected a tokenizer whose tokenizer_config.json names eos_token, found none");
}

TEST_F(TokenizeCorpus, a_shard_must_hold_a_token) {
  EXPECT_ERROR(tokenize({.shard_tokens = 0}), "shard_tokens: expected more than 0, found 0");
}

class TokenDatasetFolder : public testing::Test {
 protected:
  void edit(const std::string& key, const Json& value) {
    Json json = read_json(folder_ / "dataset.json");
    json[key] = value;
    write_json(folder_ / "dataset.json", json);
  }

  void expect(const std::string& text) {
    EXPECT_ERROR(TokenDataset(folder_.path()), folder_.path().string() + text);
  }

  TemporaryFolder folder_;
};

TEST_F(TokenDatasetFolder, reading_wraps_around_at_the_end) {
  write_dataset(folder_.path(), {.shards = {{1, 2, 3}, {4, 5}}});
  const TokenDataset dataset(folder_.path());
  EXPECT_EQ(dataset.tokens(), 5);
  EXPECT_THAT(read(dataset, 1, 3), ElementsAre(2, 3, 4));
  EXPECT_THAT(read(dataset, 4, 3), ElementsAre(5, 1, 2));
  EXPECT_THAT(read(dataset, 13, 12), ElementsAre(4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5));
}

TEST_F(TokenDatasetFolder, held_out_tokens_are_gone) {
  write_dataset(folder_.path(), {.shards = {{1, 2, 3}, {4, 5}}});
  TokenDataset dataset(folder_.path());
  EXPECT_THAT(dataset.hold_out(3), ElementsAre(3, 4, 5));
  EXPECT_EQ(dataset.tokens(), 2);
  EXPECT_THAT(read(dataset, 0, 5), ElementsAre(1, 2, 1, 2, 1));
  EXPECT_ERROR(dataset.hold_out(2), ": expected to hold out 0 to 1 tokens, found 2");
}

TEST_F(TokenDatasetFolder, ids_use_all_of_their_bytes) {
  write_dataset(folder_.path(), {.shards = {{65535, 0}}, .vocab_size = 65536});
  EXPECT_THAT(read_all(TokenDataset(folder_.path())), ElementsAre(65535, 0));
  write_dataset(folder_.path(),
                {.shards = {{151935, 65536}}, .vocab_size = 151936, .bytes_per_token = 4});
  EXPECT_THAT(read_all(TokenDataset(folder_.path())), ElementsAre(151935, 65536));
}

TEST_F(TokenDatasetFolder, ids_beyond_the_vocabulary_are_refused) {
  write_dataset(folder_.path(), {.shards = {{5, 6}}, .vocab_size = 6});
  const TokenDataset dataset(folder_.path());
  EXPECT_EQ(read(dataset, 0, 1)[0], 5);
  EXPECT_ERROR(read(dataset, 1, 1), ": expected token ids below 6, found 6");
}

TEST_F(TokenDatasetFolder, broken_shards_are_named) {
  write_dataset(folder_.path(), {.shards = {{1, 2, 3}, {4, 5}}});
  const std::string bytes = read_file(folder_ / "shard1.bin");
  write_file(folder_ / "shard1.bin", bytes.substr(0, 19));
  expect("/shard1.bin: expected 2 tokens of 2 bytes, found 3 bytes");
  write_file(folder_ / "shard1.bin", bytes.substr(0, 15));
  expect("/shard1.bin: expected a header of 16 bytes, found a file of 15");
  write_file(folder_ / "shard1.bin", "HYPTOKS2" + bytes.substr(8));
  expect("/shard1.bin: expected a token shard that begins with HYPTOKS1, found other bytes");
  write_file(folder_ / "shard1.bin", bytes.substr(0, 8) + '\3' + bytes.substr(9));
  expect("/shard1.bin: expected 2 or 4 bytes a token, found 3");
  fs::remove(folder_ / "shard1.bin");
  expect("/shard1.bin: cannot open: No such file");
}

TEST_F(TokenDatasetFolder, a_shard_that_is_something_else_is_named) {
  write_dataset(folder_.path(), {.shards = {{1, 2, 3}, {4, 5}}});
  write_file(folder_ / "shard1.bin", "version https://git-lfs.github.com/spec/v1\n");
  expect("/shard1.bin: expected a token shard, found a Git LFS pointer");
}

TEST_F(TokenDatasetFolder, a_broken_dataset_file_is_named) {
  expect("/dataset.json: cannot open: No such file");
  const auto expect_after = [&](const std::string& key, const Json& value,
                                const std::string& text) {
    write_dataset(folder_.path(), {.shards = {{1, 2, 3}}});
    edit(key, value);
    expect("/dataset.json: " + text);
  };
  expect_after("tokens", 4, "tokens is 4, the shards hold 3");
  expect_after("tokens", 0, "tokens: expected more than 0, found 0");
  expect_after("vocab_size", 0, "vocab_size: expected more than 0, found 0");
  expect_after("shards", Json::array(), "tokens is 3, the shards hold 0");
  expect_after("shards", Json::array({{{"file", "x"}, {"tokens", -3}}}),
               "shard x: expected more than 0 tokens, found -3");
  expect_after("vocab", 3, "unknown key \"vocab\"");
}

}  // namespace
}  // namespace hypenet
