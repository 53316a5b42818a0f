// Batches: a function of seed and step alone, made of rows that are what they claim to be.
#include "data/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/token_dataset.h"

namespace hypenet {
namespace {

using Row = std::vector<int64_t>;

constexpr int32_t kIds =
    4000;  // token i of the corpus is i mod kIds: a window of prose never repeats a span

std::vector<int32_t> counting(int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % kIds);
  return tokens;
}

class BatchesTest : public testing::Test {
 protected:
  static const Tokenizer& tokenizer() {
    static const Tokenizer tokenizer = Tokenizer::load(HYPENET_SOURCE "/models/tiny-teacher");
    return tokenizer;
  }

  std::shared_ptr<const TokenDataset> corpus(int64_t tokens) {
    write_dataset(folder_.path(), {.shards = {counting(tokens)},
                                   .fingerprint = vocabulary_fingerprint(tokenizer())});
    return std::make_shared<const TokenDataset>(folder_.path());
  }

  TemporaryFolder folder_;
};

/// The T + 1 tokens behind row `i` of a batch.
Row tokens_of(const Batch& batch, int64_t i) {
  const int64_t context = batch.ids.size(1);
  Row row(batch.ids[i].data_ptr<int64_t>(), batch.ids[i].data_ptr<int64_t>() + context);
  row.push_back(batch.targets[i][context - 1].item<int64_t>());
  return row;
}

/// Rows 0 .. count-1 of the order.
std::vector<Row> rows_of(const std::shared_ptr<const TokenDataset>& dataset,
                         const Tokenizer* tokenizer, BatchOptions options, int64_t count) {
  options.sequences = count;
  const Batch batch = Batches(dataset, tokenizer, options).at(0);
  std::vector<Row> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(tokens_of(batch, i));
  return rows;
}

bool is_counting(const Row& row) {
  return std::ranges::adjacent_find(
             row, [](int64_t a, int64_t b) { return b != (a + 1) % kIds; }) == row.end();
}

/// The longest span that occurs twice without overlap.
int64_t longest_repeat(const Row& row) {
  const auto n = static_cast<int64_t>(row.size());
  int64_t best = 0;
  for (int64_t distance = 1; distance < n; ++distance) {
    int64_t run = 0;
    for (int64_t i = 0; i + distance < n; ++i) {
      run = row[static_cast<size_t>(i)] == row[static_cast<size_t>(i + distance)] ? run + 1 : 0;
      best = std::max(best, std::min(run, distance));
    }
  }
  return best;
}

std::string text_of(const Tokenizer& tokenizer, const Row& row) {
  return tokenizer.decode(std::vector<int32_t>(row.begin(), row.end()));
}

bool is_needle_row(const Tokenizer& tokenizer, const Row& row) {
  return text_of(tokenizer, row).find(" Question: the magic number for") != std::string::npos;
}

TEST(Permuted, is_a_bijection) {
  for (int64_t n = 1; n <= 300; ++n) {
    for (const uint64_t key : {uint64_t{0}, uint64_t{1}, uint64_t{0xDEADBEEFCAFEF00D}}) {
      std::set<int64_t> seen;
      for (int64_t i = 0; i < n; ++i) seen.insert(permuted(i, n, key));
      ASSERT_EQ(std::ssize(seen), n);
      ASSERT_EQ(*seen.begin(), 0);
      ASSERT_EQ(*seen.rbegin(), n - 1);
    }
  }
}

TEST(Permuted, mixes_and_depends_on_the_key) {
  int64_t fixed = 0, same = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    fixed += permuted(i, 1000, 1) == i;
    same += permuted(i, 1000, 1) == permuted(i, 1000, 2);
  }
  EXPECT_LT(fixed, 10);
  EXPECT_LT(same, 10);
}

TEST_F(BatchesTest, targets_are_the_next_tokens) {
  const Batch batch =
      Batches(corpus(500), nullptr, {.sequences = 3, .context = 8, .seed = 1, .mixture = {}}).at(5);
  EXPECT_EQ(batch.ids.sizes(), torch::IntArrayRef({3, 8}));
  EXPECT_EQ(batch.ids.scalar_type(), torch::kInt64);
  EXPECT_TRUE(batch.ids.slice(1, 1).equal(batch.targets.slice(1, 0, 7)));
}

TEST_F(BatchesTest, an_epoch_shows_every_sequence_once) {
  const auto dataset = corpus(85);  // 10 sequences of 8, 5 tokens over
  const auto rows = rows_of(dataset, nullptr, {.context = 8, .seed = 3, .mixture = {}}, 20);
  for (const int64_t epoch : {0, 1}) {
    std::set<int64_t> begins;
    for (int64_t i = 0; i < 10; ++i) {
      const Row& row = rows[static_cast<size_t>(epoch * 10 + i)];
      EXPECT_TRUE(is_counting(row));
      EXPECT_EQ(row[0] % 8, 0);
      begins.insert(row[0]);
    }
    EXPECT_EQ(begins.size(), 10u);
  }
  EXPECT_FALSE(std::equal(rows.begin(), rows.begin() + 10, rows.begin() + 10))
      << "epochs differ in their order";
}

TEST_F(BatchesTest, the_last_target_wraps_around) {
  const auto rows = rows_of(corpus(16), nullptr, {.context = 8, .seed = 0, .mixture = {}}, 2);
  const Row& last = rows[0][0] == 8 ? rows[0] : rows[1];
  EXPECT_EQ(last, (Row{8, 9, 10, 11, 12, 13, 14, 15, 0}));
}

TEST_F(BatchesTest, a_batch_depends_on_seed_and_step_alone) {
  const MixtureConfig mixture = {.prose = 0.4, .needle = 0.3, .copy = 0.3};
  const BatchOptions options = {.sequences = 8, .context = 128, .seed = 7, .mixture = mixture};
  const Batches one(corpus(20000), &tokenizer(), options);
  for (int64_t step = 0; step < 9; ++step) one.at(step);
  const Batches again(std::make_shared<const TokenDataset>(folder_.path()), &tokenizer(), options);
  EXPECT_TRUE(one.at(9).ids.equal(again.at(9).ids));
  EXPECT_TRUE(one.at(9).targets.equal(again.at(9).targets));
  EXPECT_FALSE(one.at(9).ids.equal(one.at(10).ids));
  BatchOptions other = options;
  other.seed = 8;
  EXPECT_FALSE(Batches(corpus(20000), &tokenizer(), other).at(9).ids.equal(one.at(9).ids));
}

TEST_F(BatchesTest, rows_do_not_depend_on_the_batch_size) {
  const MixtureConfig mixture = {.prose = 0.5, .needle = 0.25, .copy = 0.25};
  const auto dataset = corpus(20000);
  const auto rows =
      rows_of(dataset, &tokenizer(), {.context = 128, .seed = 7, .mixture = mixture}, 12);
  const Batches batches(dataset, &tokenizer(),
                        {.sequences = 4, .context = 128, .seed = 7, .mixture = mixture});
  for (int64_t row = 0; row < 12; ++row) {
    EXPECT_EQ(tokens_of(batches.at(row / 4), row % 4), rows[static_cast<size_t>(row)]);
  }
}

TEST_F(BatchesTest, kinds_come_in_their_shares) {
  const MixtureConfig mixture = {.prose = 0.2, .needle = 0.5, .copy = 0.3};
  const auto rows =
      rows_of(corpus(50000), &tokenizer(), {.context = 128, .seed = 5, .mixture = mixture}, 1000);
  int64_t prose = 0, needle = 0, copy = 0;
  for (const Row& row : rows) {
    if (is_counting(row)) {
      ++prose;
    } else if (is_needle_row(tokenizer(), row)) {
      ++needle;
    } else {
      ++copy;
    }
  }
  // Four standard deviations.
  EXPECT_NEAR(prose, 200, 51);
  EXPECT_NEAR(needle, 500, 63);
  EXPECT_NEAR(copy, 300, 58);
}

TEST_F(BatchesTest, a_kind_without_a_share_does_not_occur) {
  const MixtureConfig mixture = {.prose = 0, .needle = 0.3, .copy = 0.7};
  for (const Row& row :
       rows_of(corpus(50000), &tokenizer(), {.context = 128, .seed = 5, .mixture = mixture}, 300)) {
    EXPECT_FALSE(is_counting(row));
  }
}

TEST_F(BatchesTest, copy_rows_repeat_a_span) {
  const MixtureConfig mixture = {.prose = 0, .needle = 0, .copy = 1};
  const auto rows =
      rows_of(corpus(50000), &tokenizer(), {.context = 96, .seed = 2, .mixture = mixture}, 400);
  int64_t random_rows = 0;
  std::set<int64_t> spans;
  for (const Row& row : rows) {
    const int64_t span = longest_repeat(row);
    EXPECT_GE(span, 12);
    // A neighbour may match by chance (random) or never (prose counts on).
    EXPECT_LE(span, 96 / 3 + 1);
    spans.insert(span);
    int64_t steps = 0;
    for (size_t i = 1; i < row.size(); ++i) steps += row[i] == (row[i - 1] + 1) % kIds;
    random_rows += steps < 48;
    for (const int64_t id : row)
      EXPECT_FALSE(steps < 48 && tokenizer().is_special(static_cast<int32_t>(id)));
  }
  EXPECT_NEAR(static_cast<double>(random_rows), 200, 40);
  EXPECT_GE(spans.size(), 20u) << "lengths from 12 to 32 occur";
}

TEST_F(BatchesTest, needle_rows_have_their_numbers) {
  const MixtureConfig mixture = {.prose = 0, .needle = 1, .copy = 0};
  std::set<std::pair<int, int>> counts;
  for (const Row& row :
       rows_of(corpus(50000), &tokenizer(), {.context = 300, .seed = 2, .mixture = mixture}, 300)) {
    const std::string text = text_of(tokenizer(), row);
    int needles = 0, questions = 0;
    for (size_t at = text.find(" The magic number for"); at != text.npos;
         at = text.find(" The magic number for", at + 1))
      ++needles;
    for (size_t at = text.find(" Question: the"); at != text.npos;
         at = text.find(" Question: the", at + 1))
      ++questions;
    counts.insert({needles, questions});
  }
  std::set<std::pair<int, int>> expected;
  for (const int needles : {1, 2, 4, 8}) {
    for (int questions = 1; questions <= std::min(4, needles); ++questions)
      expected.insert({needles, questions});
  }
  EXPECT_EQ(counts, expected);
}

/// What a batch marks as answers in row i: the text of each run of marked targets.
std::vector<std::string> marked_answers(const Tokenizer& tokenizer, const Batch& batch, int64_t i) {
  std::vector<std::string> answers;
  std::vector<int32_t> run;
  for (int64_t t = 0; t < batch.ids.size(1); ++t) {
    const bool is_marked = batch.answers[i][t].item<bool>();
    if (is_marked) run.push_back(batch.targets[i][t].item<int32_t>());
    if (run.empty() || (is_marked && t + 1 < batch.ids.size(1))) continue;
    answers.push_back(tokenizer.decode(run));
    run.clear();
  }
  return answers;
}

TEST_F(BatchesTest, answers_are_marked_in_needle_rows_and_nowhere_else) {
  const MixtureConfig mixture = {.prose = 0.4, .needle = 0.4, .copy = 0.2};
  const Batches batches(corpus(50000), &tokenizer(),
                        {.sequences = 60, .context = 128, .seed = 5, .mixture = mixture});
  const Batch batch = batches.at(0);
  EXPECT_EQ(batch.answers.sizes(), batch.targets.sizes());
  EXPECT_EQ(batch.answers.scalar_type(), torch::kBool);
  const std::string question = " Question: the magic number for";
  for (int64_t i = 0; i < 60; ++i) {
    const Row row = tokens_of(batch, i);
    std::vector<std::string> expected;
    if (is_needle_row(tokenizer(), row)) {
      const std::string text = text_of(tokenizer(), row);
      for (size_t at = text.find(question); at != text.npos; at = text.find(question, at + 1)) {
        expected.push_back(text.substr(text.find(" is ", at) + 4, 4));
      }
    }
    EXPECT_EQ(marked_answers(tokenizer(), batch, i), expected);
  }
}

TEST_F(BatchesTest, rows_without_recall_are_what_they_were_before_there_was_recall) {
  const MixtureConfig mixture = {.prose = 0.4, .needle = 0.3, .copy = 0.3};
  const Batches batches(corpus(50000), &tokenizer(),
                        {.sequences = 40, .context = 96, .seed = 7, .mixture = mixture});
  const Tensor ids = batches.at(2).ids;
  uint64_t sum = 0;
  for (int64_t i = 0; i < ids.numel(); ++i) {
    sum = sum * 1000003 + static_cast<uint64_t>(ids.data_ptr<int64_t>()[i]);
  }
  EXPECT_EQ(sum, 17636786102616606422U);
}

TEST_F(BatchesTest, recall_rows_take_the_place_of_prose) {
  const auto dataset = corpus(50000);
  const BatchOptions options = {.sequences = 400, .context = 128, .seed = 5, .mixture = {}};
  BatchOptions without = options, with = options;
  without.mixture = {.prose = 0.6, .needle = 0.2, .copy = 0.2};
  with.mixture = {.prose = 0.3, .needle = 0.2, .recall = 0.3, .copy = 0.2};
  const Batch before = Batches(dataset, &tokenizer(), without).at(0);
  const Batch after = Batches(dataset, &tokenizer(), with).at(0);
  int64_t recall = 0;
  for (int64_t i = 0; i < 400; ++i) {
    if (before.targets[i].equal(after.targets[i])) {
      EXPECT_TRUE(before.answers[i].equal(after.answers[i]));
      continue;
    }
    ++recall;
    EXPECT_TRUE(is_counting(tokens_of(before, i)));
    EXPECT_FALSE(is_needle_row(tokenizer(), tokens_of(after, i)));
    const auto answers = marked_answers(tokenizer(), after, i);
    EXPECT_FALSE(answers.empty());
    for (const std::string& answer : answers) {
      EXPECT_NE(text_of(tokenizer(), tokens_of(after, i)).find(answer), std::string::npos);
    }
  }
  EXPECT_NEAR(static_cast<double>(recall), 120, 37) << "four standard deviations";
}

TEST_F(BatchesTest, a_batch_is_narrowed_and_mapped_as_a_whole) {
  const MixtureConfig mixture = {.prose = 0, .needle = 1, .copy = 0};
  const Batches batches(corpus(50000), &tokenizer(),
                        {.sequences = 6, .context = 128, .seed = 5, .mixture = mixture});
  const Batch part = batches.at(3).narrow(2, 3), same = batches.at(3, 2, 5);
  EXPECT_TRUE(part.ids.equal(same.ids));
  EXPECT_TRUE(part.targets.equal(same.targets));
  EXPECT_TRUE(part.answers.equal(same.answers));
  EXPECT_TRUE(part.answers.any().item<bool>());
  const Batch late = part.map([](const Tensor& tensor) { return tensor.slice(1, 7); });
  EXPECT_TRUE(late.answers.equal(part.answers.slice(1, 7)));
}

TEST_F(BatchesTest, short_contexts_get_needle_rows_that_fit) {
  const MixtureConfig mixture = {.prose = 0, .needle = 1, .copy = 0};
  for (const int64_t context : {40, 64, 90, 128, 200}) {
    const auto rows = rows_of(corpus(50000), &tokenizer(),
                              {.context = context, .seed = 2, .mixture = mixture}, 200);
    for (const Row& row : rows) {
      ASSERT_EQ(std::ssize(row), context + 1);
      ASSERT_TRUE(is_needle_row(tokenizer(), row));
    }
  }
}

TEST_F(BatchesTest, impossible_mixtures_are_refused) {
  const auto dataset = corpus(5000);
  const auto make = [&](const MixtureConfig& mixture, int64_t context, const Tokenizer* tokenizer) {
    return Batches(dataset, tokenizer,
                   {.sequences = 1, .context = context, .seed = 0, .mixture = mixture});
  };
  EXPECT_ERROR(make({.prose = 0.5, .needle = 0.2, .copy = 0.2}, 64, &tokenizer()),
               "mixture: expected shares that add up to 1, found 0.9");
  EXPECT_ERROR(make({.prose = 1.5, .needle = -0.5, .copy = 0}, 64, &tokenizer()),
               "mixture: expected shares between 0 and 1, found ");
  EXPECT_ERROR(make({.prose = 0.5, .needle = 0.5, .copy = 0}, 64, nullptr),
               "mixture: expected a tokenizer for needle, recall and copy rows, found none");
  EXPECT_ERROR(make({.prose = 0.5, .needle = 0.5, .copy = 0}, 20, &tokenizer()),
               "tokens for needle rows, found 20");
  EXPECT_ERROR(make({.prose = 0.5, .recall = 0.5}, 60, &tokenizer()),
               "tokens for recall rows, found 60");
  EXPECT_ERROR(make({.prose = 0.5, .recall = 0.6}, 128, &tokenizer()),
               "mixture: expected shares that add up to 1, found 1.1");
  EXPECT_ERROR(make({.prose = 0.5, .needle = 0, .copy = 0.5}, 35, &tokenizer()),
               "mixture: expected a context of at least 36 tokens for copy rows, found 35");
  EXPECT_ERROR(make({}, 0, nullptr),
               "batches: expected sequences and context above 0, found 1 and 0");
}

TEST_F(BatchesTest, a_corpus_that_does_not_fit_is_refused) {
  EXPECT_ERROR(
      Batches(corpus(63), nullptr, {.sequences = 1, .context = 64, .seed = 0, .mixture = {}}),
      ": expected at least one sequence of 64 tokens, found 63 tokens");
  write_dataset(folder_.path(), {.shards = {counting(100)}, .fingerprint = "0123"});
  const auto other = std::make_shared<const TokenDataset>(folder_.path());
  EXPECT_ERROR(
      Batches(other, &tokenizer(), {.sequences = 1, .context = 64, .seed = 0, .mixture = {}}),
      "), found those of another one (fingerprint 0123)");
}

}  // namespace
}  // namespace hypenet
