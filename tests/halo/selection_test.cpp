// Which sweep a recipe's rule asks for.
#include "halo/selection.h"

#include <gmock/gmock.h>

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

}  // namespace
}  // namespace hypenet
