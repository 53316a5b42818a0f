// Where the grid's facts stand, how long its prompts are, and what its pictures show.
#include "eval/needle_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "eval/ruler/sample.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

const Tokenizer& tiny_tokenizer() {
  static const Tokenizer kTokenizer =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  return kTokenizer;
}

NeedleGridOptions options_for(NeedleHaystack haystack) {
  std::string prose;
  for (int i = 0; i < 3000; ++i) prose += concat(i == 0 ? "" : " ", "word", i % 700, " of prose.");
  return {.haystack = haystack,
          .contexts = {2048, 3072},
          .depths = 5,
          .samples = 2,
          .data = {std::filesystem::path(HYPENET_TEST_DATA) / "ruler"},
          .tokenizer = &tiny_tokenizer(),
          .prose = tiny_tokenizer().encode(prose)};
}

/// Bytes before the last occurrence of `text` that is followed by more of the haystack, as a share.
double depth_of(const std::string& prompt, const std::string& text) {
  const size_t place = prompt.find(text);
  EXPECT_NE(place, prompt.npos) << text;
  return static_cast<double>(place) / static_cast<double>(prompt.size());
}

class NeedleGridPrompts : public testing::TestWithParam<NeedleHaystack> {};

TEST_P(NeedleGridPrompts, facts_stand_at_their_depths_in_prompts_of_the_context) {
  const NeedlePrompts prompts = make_needle_prompts(options_for(GetParam()));
  EXPECT_THAT(prompts.depths, ElementsAre(0, 25, 50, 75, 100));
  ASSERT_EQ(prompts.items.size(), 20U);
  for (size_t i = 0; i < prompts.items.size(); ++i) {
    const EvalRequest& request = prompts.items[i].requests.at(0);
    const int64_t context = prompts.contexts[i / 10];
    const double depth = prompts.depths[i / 2 % 5] / 100;
    const std::string& value = prompts.items[i].references.at(0);
    EXPECT_NEAR(depth_of(request.context, value + "."), depth, 0.12) << i;
    const int64_t tokens = count_tokens(tiny_tokenizer(), request.context) + request.max_tokens;
    EXPECT_LE(tokens, context) << i;
    EXPECT_GT(tokens, context - 64) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, NeedleGridPrompts,
                         testing::Values(NeedleHaystack::kEssays, NeedleHaystack::kRepeated,
                                         NeedleHaystack::kFacts));

TEST(NeedleGrid, a_fact_prompt_holds_all_facts_and_asks_for_the_one_with_the_answer) {
  const NeedlePrompts prompts = make_needle_prompts(options_for(NeedleHaystack::kFacts));
  const std::string& prompt = prompts.items.at(4).requests.at(0).context;
  size_t facts = 0;
  for (size_t at = 0; (at = prompt.find(" The magic number for ", at)) != prompt.npos; ++at)
    ++facts;
  EXPECT_EQ(facts, 4U);
  const std::string question = " Question: the magic number for ";
  const size_t asked = prompt.rfind(question);
  ASSERT_NE(asked, prompt.npos);
  const std::string key_and_is = prompt.substr(asked + question.size());
  EXPECT_THAT(prompt, HasSubstr(concat(" The magic number for ", key_and_is,
                                       prompts.items.at(4).references.at(0), ".")));
  EXPECT_EQ(prompts.items.at(4).requests.at(0).max_tokens, 4);
}

TEST(NeedleGrid, the_same_seed_gives_the_same_prompts_and_another_one_others) {
  NeedleGridOptions options = options_for(NeedleHaystack::kFacts);
  const auto first = make_needle_prompts(options).requests();
  EXPECT_EQ(make_needle_prompts(options).requests(), first);
  options.seed = 7;
  EXPECT_NE(make_needle_prompts(options).requests(), first);
}

TEST(NeedleGrid, shares_are_of_answers_that_hold_the_value_and_for_facts_are_it) {
  for (const NeedleHaystack haystack : {NeedleHaystack::kRepeated, NeedleHaystack::kFacts}) {
    const NeedlePrompts prompts = make_needle_prompts(options_for(haystack));
    std::vector<EvalAnswer> answers(prompts.items.size());
    answers[0].text = prompts.items[0].references[0];
    answers[1].text = " " + prompts.items[1].references[0] + " and more";
    answers[19].text = prompts.items[19].references[0];
    const NeedleGrid grid = score_needle_prompts(prompts, answers, "model");
    EXPECT_EQ(grid.shares[0][0], haystack == NeedleHaystack::kFacts ? 0.5 : 1);
    EXPECT_EQ(grid.shares[0][1], 0);
    EXPECT_EQ(grid.shares[1][4], 0.5);
    EXPECT_DOUBLE_EQ(grid.mean(), haystack == NeedleHaystack::kFacts ? 0.1 : 0.15);
  }
}

TEST(NeedleGrid, answers_come_from_the_model_that_is_called) {
  const NeedlePrompts prompts = make_needle_prompts(options_for(NeedleHaystack::kRepeated));
  const NeedleGrid grid =
      run_needle_grid(prompts, "knows all", [&](std::span<const EvalRequest> requests) {
        std::vector<EvalAnswer> answers(requests.size());
        for (size_t i = 0; i < requests.size(); ++i) {
          answers[i].text = prompts.items[i].references[0];
        }
        return answers;
      });
  EXPECT_EQ(grid.mean(), 1);
  EXPECT_EQ(needle_grid_json(grid).at("mean"), 1);
  EXPECT_EQ(needle_grid_json(grid).at("shares").size(), 2U);
  EXPECT_EQ(needle_grid_json(grid).at("haystack"), "repeated");
}

TEST(NeedleGrid, impossible_options_are_errors) {
  NeedleGridOptions options = options_for(NeedleHaystack::kFacts);
  options.contexts = {40};
  EXPECT_ERROR(make_needle_prompts(options), "needle-grid/40: expected room for 4 facts");
  options.contexts = {};
  EXPECT_ERROR(make_needle_prompts(options), "expected a context, found none");
  options = options_for(NeedleHaystack::kFacts);
  options.depths = 1;
  EXPECT_ERROR(make_needle_prompts(options), "expected at least 2 depths, found 1");
  options = options_for(NeedleHaystack::kFacts);
  options.prose = {};
  EXPECT_ERROR(make_needle_prompts(options), "expected prose to hide facts in, found none");
  options = options_for(NeedleHaystack::kEssays);
  options.data = {};
  EXPECT_ERROR(make_needle_prompts(options), "needle-grid/2048: expected");
  EXPECT_ERROR(parse_needle_haystack("hay"), "expected essays, repeated or facts, found hay");
  EXPECT_EQ(parse_needle_haystack("facts"), NeedleHaystack::kFacts);
}

TEST(NeedleGrid, facts_need_a_tokenizer_that_gives_each_digit_a_token) {
  const TemporaryFolder folder;
  Json definition = read_json(HYPENET_TEST_DATA "/tokenizer/llama3-like/tokenizer.json");
  definition["added_tokens"] = Json::array();
  definition["model"]["vocab"]["12"] = definition["model"]["vocab"].size();
  definition["model"]["merges"].push_back("1 2");
  write_file(folder / "tokenizer.json", definition.dump());
  const Tokenizer groups = Tokenizer::load(folder.path());
  NeedleGridOptions options = options_for(NeedleHaystack::kFacts);
  options.tokenizer = &groups;
  EXPECT_ERROR(make_needle_prompts(options),
               "expected a tokenizer that gives each digit a token of its own, found 3 tokens");
}

NeedleGrid small_grid(const std::string& name) {
  return {name, {512, 1048576}, {0, 50, 100}, {{1, 0.5, 0}, {0.25, 0.75, 1}}, 4};
}

TEST(HeatMap, two_models_are_two_panels_of_one_picture) {
  const std::vector<NeedleGrid> grids = {small_grid("teacher <a>"), small_grid("student")};
  const std::string svg = draw_heat_maps(grids, "Facts found");
  EXPECT_THAT(svg, testing::StartsWith("<svg"));
  EXPECT_THAT(svg, HasSubstr("teacher &lt;a&gt;"));
  EXPECT_THAT(svg, HasSubstr("student: 1M tokens, depth 50%: 75% of 4 found"));
  EXPECT_THAT(svg, HasSubstr("mean 58%"));
  size_t cells = 0;
  for (size_t at = 0; (at = svg.find("<title>", at)) != svg.npos; ++at) ++cells;
  EXPECT_EQ(cells, 12U);
}

TEST(HeatMap, grids_of_other_cells_are_refused) {
  std::vector<NeedleGrid> grids = {small_grid("a"), small_grid("b")};
  grids[1].contexts = {512, 1024};
  EXPECT_ERROR(draw_heat_maps(grids, ""), "found others in b");
  EXPECT_ERROR(draw_heat_maps({}, ""), "expected a grid, found none");
}

TEST(HeatMap, a_terminal_shows_a_row_a_depth) {
  EXPECT_EQ(format_heat_map(small_grid("a"), false),
            "depth   512    1M \n"
            "   0%  100%   25% \n"
            "  50%   50%   75% \n"
            " 100%    0%  100% \n");
  EXPECT_THAT(format_heat_map(small_grid("a"), true), HasSubstr("\x1b[48;2;178;51;46m"));
}

}  // namespace
}  // namespace hypenet
