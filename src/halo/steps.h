// The steps of a conversion, in order, and what each of them leaves in the run's folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/folder_writer.h"

namespace hypenet {

enum class ConversionStep {
  kTransfer,
  kAlign,
  kSelect,
  kHybrid,
  kDistill,
  kFinetune,
  kExtend,  // only where the recipe has it
  kModel
};

/// A step's name on the command line, and its folder.
struct StepAbout {
  ConversionStep step;
  std::string_view name, folder;
};

/// All steps, in order.
const std::vector<StepAbout>& conversion_steps();

/// "transfer, align, ... or model"
std::string step_names();

/// Throws Error naming the choices.
ConversionStep parse_step(std::string_view name);

/// A step's name and folder.
const StepAbout& about_step(ConversionStep step);

/// What kind of folder the step writes.
FolderKind step_folder_kind(ConversionStep step);

/// 3-sweep/, 3-select/ and, of the pilots in 3-pilots/, a finished one, what a killed run leaves in
/// its place, and where one trains: the folder's name and then kPilotTrainingEnding.
FolderKind sweep_kind();
FolderKind selection_kind();
FolderKind pilot_kind();
FolderKind unfinished_pilot_kind();
FolderKind pilot_training_kind();
inline constexpr std::string_view kPilotTrainingEnding = ".training";

/// Names of what `step` and the steps after it left in the folder `out`, finished or not.
std::vector<std::string> made_from(const std::filesystem::path& out, ConversionStep step);

/// Throws Error unless all of made_from is what a conversion writes, so that remove_from may remove
/// it.
void check_removable(const std::filesystem::path& out, ConversionStep step);

/// Removes all of made_from, the last step's first. Throws Error as check_removable does.
void remove_from(const std::filesystem::path& out, ConversionStep step);

}  // namespace hypenet
