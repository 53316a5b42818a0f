// Which sweep a recipe's rule asks for.
#include "halo/selection.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/twins.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

HaloRecipe with_rule(const std::string& rule) {
  HaloRecipe recipe;
  recipe.sweep.tasks = {"fda", "text"};
  recipe.select.rule = rule;
  return recipe;
}

TEST(Selection, rules_sweep_no_more_than_they_read) {
  EXPECT_FALSE(sweep_of(with_rule("uniform")));
  EXPECT_THAT(sweep_of(with_rule("kl"))->tasks, ElementsAre("text"));
  EXPECT_THAT(sweep_of(with_rule("lazy"))->tasks, ElementsAre("lazy"));
  EXPECT_THAT(sweep_of(with_rule("halo"))->tasks, ElementsAre("fda", "text"));
  EXPECT_FALSE(sweep_of(with_rule("halo"))->likelihoods);
  EXPECT_TRUE(sweep_of(with_rule("likelihood"))->likelihoods);
  EXPECT_THAT(sweep_of(with_rule("pilot"))->tasks, ElementsAre("fda", "text", "lazy"));
}

TEST(Selection, layers_given_by_hand_need_no_sweep) {
  HaloRecipe recipe = with_rule("halo");
  recipe.select.layers = {1, 2};
  EXPECT_FALSE(sweep_of(recipe));
}

TEST(Selection, what_was_chosen_is_read_or_refused_by_key) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    write_file(folder / "selection.json", text);
    return read_selection(folder.path());
  };
  EXPECT_THAT(read(R"({"rule": "kl", "layers": [1, 6]})"), ElementsAre(1, 6));
  EXPECT_ERROR(read("{}"), "selection.json: expected the layers of attention, found none");
  EXPECT_ERROR(read("[1]"), "selection.json: expected the layers of attention, found none");
  EXPECT_ERROR(read(R"({"layers": [1, "x"]})"),
               "selection.json: layers[1]: expected an integer, found a string");
}

/// What check_selection says of a recipe for a teacher of two layers.
class SelectionCheck : public testing::Test {
 protected:
  void SetUp() override { testing_support::write_byte_tokenizer(folder_.path()); }
  void check(const HaloRecipe& recipe) const {
    check_selection(recipe, testing_support::tiny_teacher_config(),
                    Tokenizer::load(folder_.path()));
  }
  static HaloRecipe with_tasks(const std::string& rule, const std::vector<std::string>& tasks) {
    HaloRecipe recipe = with_rule(rule);
    recipe.sweep.tasks = tasks;
    return recipe;
  }

  TemporaryFolder folder_;
};

TEST_F(SelectionCheck, layers_that_the_teacher_lacks_are_refused_before_anything_is_trained) {
  HaloRecipe recipe = with_rule("uniform");
  check(recipe);
  recipe.select.keep = 3;
  EXPECT_ERROR(check(recipe), "keep: expected 0 (a quarter of the layers) to 2, found 3");
  recipe.select.keep = 0;
  recipe.select.layers = {0, 2};
  EXPECT_ERROR(check(recipe), "select: layers: expected layers of 0 to 1, found 2");
  recipe.select.layers = {1, 1};
  EXPECT_ERROR(check(recipe), "expected layer 1 once, found it twice");
}

TEST_F(SelectionCheck, a_rule_without_the_tasks_it_reads_is_refused) {
  check(with_tasks("halo", {"recall", "text"}));
  check(with_tasks("likelihood", {"recall", "text"}));
  check(with_tasks("recall-drop", {"recall"}));
  EXPECT_ERROR(check(with_tasks("halo", {"recall"})),
               "selection rule halo: sweep: tasks: expected a reasoning column");
  EXPECT_ERROR(check(with_tasks("recall-drop", {"text"})), "expected a recall column");
  check(with_tasks("kl", {"recall"}));
  check(with_tasks("pilot", {"recall"}));
}

TEST_F(SelectionCheck, tasks_that_cannot_be_loaded_are_refused) {
  EXPECT_ERROR(check(with_tasks("halo", {"recall", "arc_hard"})), "arc_hard");
  EXPECT_ERROR(check(with_tasks("halo", {"recall", "arc_easy"})), "arc_easy");
}

void write_folder(const std::filesystem::path& folder, CausalLm model) {
  write_checkpoint(folder, {.config = to_json(model->config()),
                            .tensors = named_weights(*model, torch::kFloat32),
                            .run = {},
                            .companions_from = {}});
}

TEST(Selection, scores_outlive_a_rule_that_cannot_choose) {
  const TemporaryFolder folder;
  ModelConfig config = testing_support::tiny_teacher_config();
  config.vocab_size = testing_support::kByteTokens;
  config.torch_dtype = "float32";
  const CausalLm model = testing_support::spread_model(config, 1);
  write_folder(folder / "teacher", model);
  testing_support::write_byte_tokenizer(folder / "teacher");
  write_folder(folder / "2-align", testing_support::new_twins(model, 2));
  HaloRecipe recipe = with_rule("recall-drop");
  recipe.sweep.tasks = {"text"};
  recipe.sweep.context = 20, recipe.sweep.windows = 2;
  recipe.select.keep = 1;
  const RunOptions options{.out = folder.path()};
  const Conversion conversion{.recipe = recipe,
                              .options = options,
                              .teacher = Checkpoint(folder / "teacher"),
                              .teacher_config = config,
                              .tokenizer = Tokenizer::load(folder / "teacher"),
                              .corpus = {.held_out = std::vector<int32_t>(100, 65)}};
  const auto select = [&] {
    return select_attention(conversion, {.name = "3-select",
                                         .folder = folder / "3-select",
                                         .settings = {{"select", write_fields(recipe.select)}}});
  };
  EXPECT_ERROR(select(), "selection rule recall-drop: the scores: expected a recall column");
  const auto kept = folder / "3-sweep/scores.csv";
  LayerScores scores = read_scores(kept);
  EXPECT_TRUE(scores.has(Evidence::kDivergence));
  // What stands there now no sweep would say.
  scores.layers[0].assign(scores.columns.size(), 7);
  scores.layers[1].assign(scores.columns.size(), 1000);
  write_scores(kept, scores);
  recipe.select.rule = "kl";
  EXPECT_THAT(select(), ElementsAre(1));
  EXPECT_EQ(read_scores(folder / "3-select/scores.csv").layers, scores.layers);
  EXPECT_FALSE(std::filesystem::exists(folder / "3-sweep")) << "they are in 3-select now";
}

}  // namespace
}  // namespace hypenet
