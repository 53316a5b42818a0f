// A run: stages in order, each a folder that is made once.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "ranks/ranks.h"
#include "train/loop.h"

namespace hypenet {

/// Thrown when the user stopped the run; everything needed to go on is saved.
class Interrupted : public Error {
 public:
  using Error::Error;
  Interrupted() : Error("interrupted; the same command goes on from here") {}
};

struct RunOptions {
  std::filesystem::path out;
  torch::Device device = torch::kCPU;
  Observer* observer = nullptr;             // may be null
  const std::atomic<bool>* stop = nullptr;  // may be null
  std::shared_ptr<Communicator> communicator = std::make_shared<OneProcess>();

  bool is_first_rank() const { return communicator->ranks().is_first(); }
};

/// Runs `work` on the first rank and then on the others, which find what it made.
template <class Work>
void in_turn(const RunOptions& options, const Work& work) {
  if (options.is_first_rank()) work();
  options.communicator->barrier();
  if (!options.is_first_rank()) work();
  options.communicator->barrier();
}

/// Throws Interrupted when the stop flag is set.
void check_stop(const RunOptions& options);

void note(const RunOptions& options, const std::string& text);
void show_progress(const RunOptions& options, const std::string& part, int64_t done, int64_t total);

/// Settings that an earlier program wrote into the file `place`, as this one writes them.
using Completed = std::function<Json(const Json& settings, const std::filesystem::path& place)>;

/// One stage of a run, as its folder's run.json has it. Its state, where it trains, is saved beside
/// the folder.
struct Stage {
  std::string name = {};
  std::filesystem::path folder = {};
  Json settings = {};                                 // all that decides what is made
  std::vector<std::filesystem::path> parents = {};    // folders that it is made from
  std::function<void(const Stage& stage)> make = {};  // writes the folder, or throws
  Completed completed = {};
  std::string or_else = "remove what it made";  // than the same settings: check_same_settings
  bool is_shared = false;  // all ranks make it together; else the first one does
};

/// Whether the folder is already there with these settings in its run.json. Throws Error when it
/// was made with others that decide the result.
bool is_done(const Stage& stage);

/// Throws Error for a stage that was finished, or begun, with other settings.
void check_made_before(std::span<const Stage> stages);

/// Makes the stage unless it is done. Returns whether it was made now. Throws Interrupted when
/// stopped.
bool make_once(const Stage& stage, const RunOptions& options);

/// Makes what is not done, one after the other; what is done is noted. All ranks call it.
void perform(std::span<const Stage> stages, const RunOptions& options);

/// Whether this results.json has the results of such settings.
bool has_results_of(const std::filesystem::path& path, const Json& settings,
                    const Completed& completed);

/// run.json of a stage: settings, program, parents.
Json run_record(const Stage& stage);

/// Runs the function; its Error is told with the place in front.
template <class Function>
void at_place(const std::string& place, const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    throw Error(concat(place, ": ", error.what()));
  }
}

/// `path` seen from `folder`, which is seen from the working folder: absolute, without dots and a
/// slash at the end, so that a run is the same from wherever it is called. An empty one stays.
std::string absolute_path(const std::string& path, const std::filesystem::path& folder = {});

/// For Completed: paths under these keys, as an earlier program saw them from its working folder.
void make_absolute(Json& settings, std::initializer_list<const char*> keys);

/// For Completed: gives the config under `key`, if it is there, the keys that came later, at their
/// defaults. Throws Error naming `place` and key for what is no such config.
template <class Config>
void complete(Json& settings, const std::string& key, const std::string& place) {
  if (!settings.contains(key)) return;
  Config config;
  read_fields(settings[key], concat(place, ": ", key), config);
  settings[key] = write_fields(config);
}

}  // namespace hypenet
