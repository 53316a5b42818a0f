// Expressions over names of modules, as Python's re.match reads them.
#include "lowbit/module_pattern.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

TEST(ModulePattern, a_beginning_is_enough_and_a_middle_is_not) {
  const ModulePattern pattern(R"(model\.layers\.[0-3]\.)", "config.json: dynamic");
  EXPECT_TRUE(pattern.matches("model.layers.2.mlp.up_proj"));
  EXPECT_FALSE(pattern.matches("model.layers.12.mlp.up_proj"));
  EXPECT_FALSE(pattern.matches("a.model.layers.2."));
  EXPECT_TRUE(ModulePattern(".*down_proj", "p").matches("model.layers.2.mlp.down_proj"));
  EXPECT_FALSE(ModulePattern("down_proj", "p").matches("model.layers.2.mlp.down_proj"));
}

TEST(ModulePattern, what_is_no_expression_is_refused_by_place) {
  EXPECT_ERROR(ModulePattern("a(", "config.json: ignore"),
               "config.json: ignore: expected a regular expression, found a( (missing");
}

TEST(ModulePattern, an_expression_that_turns_back_without_end_is_refused) {
  const ModulePattern pattern("(a|a)*b", "config.json: ignore");
  EXPECT_ERROR(pattern.matches("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaacb"),
               "config.json: ignore: expected an expression that matches aaaa");
}

}  // namespace
}  // namespace hypenet
