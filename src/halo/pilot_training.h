// The rule "pilot", its costly part: stage 2, cut short, for each candidate set of layers.
#pragma once

#include <vector>

#include "halo/conversion.h"
#include "halo/scores.h"

namespace hypenet {

/// Trains every candidate (halo/pilots.h) for recipe.select.pilot.steps steps and measures it on
/// the sweep's recall prompts and text windows. Each is a stage of its own, with the settings of
/// `selection` and a folder 3-pilots/<layers>, and one rank's work: ranks train pilots side by
/// side, each as one process does. Returns the results, best first, on all ranks. Costs candidates
/// times steps of stage 2.
std::vector<PilotResult> train_pilots(const Conversion& conversion, const Stage& selection,
                                      const LayerScores& scores);

}  // namespace hypenet
