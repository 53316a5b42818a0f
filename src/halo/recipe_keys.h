// What each key of a recipe is: the reference that `hypenet recipe` prints and docs/recipe.md
// holds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// A key of a recipe. Sections are keys too.
struct RecipeKey {
  std::string path;        // "align.optimizer.peak_lr", as --set takes it; N is a number
  std::string_view kind;   // "integer", "list of strings", "section" ...
  Json value;              // its default; null for a section
  std::string_view about;  // one sentence
};

/// All keys of recipes of `hypenet convert`, in the order of a written recipe.
std::vector<RecipeKey> conversion_keys();

/// All keys of recipes of `hypenet train`.
std::vector<RecipeKey> training_keys();

/// Names in the table of descriptions that no key has; for a test.
std::vector<std::string> stale_descriptions();

/// docs/recipe.md.
std::string recipe_page();

}  // namespace hypenet
