// The rule "pilot", its costly part: stage 2, cut short, for each candidate set of layers.
#pragma once

#include <vector>

#include "base/folder_writer.h"
#include "halo/pilots.h"
#include "halo/selection.h"

namespace hypenet {

/// The folder of a finished pilot (base/folder_writer.h).
FolderKind pilot_kind();
/// What a killed run leaves in its place.
FolderKind unfinished_pilot_kind();

/// Trains every candidate (halo/pilots.h) for recipe.select.pilot.steps steps and measures it on
/// the sweep's recall prompts and text windows. Each has a folder options.out/3-pilots/<layers>; a
/// finished one is not run again, one under way goes on from its saved state. Returns the results,
/// best first. Costs candidates times steps of stage 2.
std::vector<PilotResult> train_pilots(const SelectionInputs& inputs, const LayerScores& scores,
                                      const RunOptions& options);

}  // namespace hypenet
