// The reference of keys: every key is described, and the page in docs is what the program writes.
#include "halo/recipe_keys.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace hypenet {
namespace {

TEST(RecipeKeys, every_key_has_a_description_and_every_description_a_key) {
  for (const auto& keys : {conversion_keys(), training_keys()}) {
    for (const RecipeKey& key : keys) EXPECT_FALSE(key.about.empty()) << key.path;
  }
  EXPECT_EQ(stale_descriptions(), std::vector<std::string>());
}

TEST(RecipeKeys, hold_paths_kinds_and_defaults) {
  const auto keys = conversion_keys();
  const auto found = [&](const std::string& path) {
    for (const RecipeKey& key : keys) {
      if (key.path == path) return concat(key.kind, " ", key.value.dump());
    }
    return std::string("none");
  };
  EXPECT_EQ(found("distill.steps"), "integer 20000");
  EXPECT_EQ(found("align.optimizer.peak_lr"), "number 0.001");
  EXPECT_EQ(found("select.layers"), "list of integers, or null null");
  EXPECT_EQ(found("sweep.tasks"), R"(list of strings ["recall","text"])");
  EXPECT_EQ(found("mixer"), "string, or null null");
  EXPECT_EQ(found("mixers"), "list of strings, or null null");
  EXPECT_EQ(found("sweep.lazy"), "section null");
}

TEST(RecipeKeys, the_page_is_what_the_program_writes) {
  EXPECT_TRUE(read_file(HYPENET_SOURCE "/docs/recipe.md") == recipe_page())
      << "write it anew: build/hypenet recipe --markdown > docs/recipe.md";
}

}  // namespace
}  // namespace hypenet
