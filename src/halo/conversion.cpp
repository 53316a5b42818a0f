// Seeds, and where configs stand in the settings of a conversion's stages.
#include "halo/conversion.h"

#include "base/random.h"

namespace hypenet {

uint64_t Conversion::seed(SeedOf part) const {
  return Random(static_cast<uint64_t>(recipe.seed), {static_cast<int64_t>(part)}).next();
}

std::vector<std::string> Conversion::mixers() const {
  const auto layers = static_cast<size_t>(teacher_config.num_hidden_layers);
  if (!recipe.mixers) {
    return std::vector(layers, recipe.mixer.value_or(std::string(twin_rules()[0]->mixer->name)));
  }
  HYPENET_CHECK(recipe.mixers->size() == layers, "mixers: expected one for each of the teacher's ",
                layers, " layers, found ", recipe.mixers->size());
  return *recipe.mixers;
}

Json completed_settings(Json settings, const std::filesystem::path& place) {
  const std::string where = place.string() + ": settings";
  for (const char* stage : {"align", "distill", "finetune", "extend"})
    complete<StageConfig>(settings, stage, where);
  if (settings.contains("pilot"))
    complete<StageConfig>(settings["pilot"], "stage", where + ": pilot");
  complete<SweepConfig>(settings, "sweep", where);
  complete<SelectConfig>(settings, "select", where);
  make_absolute(settings, {"teacher"});
  if (settings.contains("sweep")) make_absolute(settings["sweep"], {"task_data"});
  return settings;
}

}  // namespace hypenet
