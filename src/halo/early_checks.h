// What a conversion could only fail on hours later, looked at before its work begins.
#pragma once

#include <cstdint>
#include <vector>

#include "halo/recipe.h"
#include "run/run.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Throws Error when no recall prompt can be made with this tokenizer, where the recipe wants some.
void check_recall(const HaloRecipe& recipe, const Tokenizer& tokenizer);

/// Throws Error for held-out text that the sweep or the evaluation of a recipe cannot be made from.
/// What they make of a short text is noted.
void check_held_out(const HaloRecipe& recipe, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const RunOptions& options);

}  // namespace hypenet
