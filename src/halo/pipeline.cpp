// The steps of a conversion in order. Each asks whether its folder is there, and otherwise makes
// it.
#include "halo/pipeline.h"

#include "base/files.h"
#include "halo/align.h"
#include "halo/distill.h"
#include "halo/hybrid.h"
#include "halo/results.h"
#include "halo/select.h"
#include "halo/selection.h"
#include "halo/transfer.h"
#include "model/weights.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// Seeds of the parts of a run that draw random numbers.
enum class SeedOf : int64_t { kGates, kAlign, kDistill, kFinetune, kSweep, kEvaluate, kPilot };
uint64_t derived_seed(int64_t seed, SeedOf part) {
  return Random(static_cast<uint64_t>(seed), {static_cast<int64_t>(part)}).next();
}

/// One conversion: the recipe, what its steps share, and a method a step.
class Conversion {
 public:
  Conversion(const HaloRecipe& recipe, const RunOptions& options)
      : recipe_(recipe),
        options_(options),
        teacher_(recipe.teacher),
        teacher_config_(
            read_model_config(teacher_, [this](const std::string& text) { note(text); })),
        tokenizer_(Tokenizer::load(recipe.teacher)) {
    check_vocabulary(tokenizer_, teacher_config_, recipe.teacher);
    check_tensors(teacher_, teacher_config_);
    check_frozen_parts();
    if (!fs::exists(select_folder())) check_selection(recipe_, teacher_config_, tokenizer_);
    fs::create_directories(options_.out);
    corpus_ = prepare_corpus(recipe_.data, tokenizer_, options_);
    base_settings_ = {{"teacher", recipe_.teacher},
                      {"seed", recipe_.seed},
                      {"gate_std", recipe_.gate_std},
                      {"training_tokens", corpus_.train->tokens()}};
  }

  ConversionResult run() {
    transfer();
    align();
    select();
    build_hybrid();
    distill();
    finetune();
    finish();
    return evaluate_and_report();
  }

 private:
  fs::path folder(const char* name) const { return options_.out / name; }
  fs::path transfer_folder() const { return folder("1-transfer"); }
  fs::path align_folder() const { return folder("2-align"); }
  fs::path select_folder() const { return folder("3-select"); }
  fs::path hybrid_folder() const { return folder("4-hybrid"); }
  fs::path distill_folder() const { return folder("5-distill"); }
  fs::path finetune_folder() const { return folder("6-finetune"); }
  fs::path model_folder() const { return folder("model"); }

  void note(const std::string& text) const {
    if (options_.observer) options_.observer->on_note(text);
  }

  /// What a stage freezes must be there, even if the stage comes hours later.
  void check_frozen_parts() const {
    const auto is_empty = [](const StageConfig& stage) { return stage.frozen.empty(); };
    if (is_empty(recipe_.align) && is_empty(recipe_.distill) && is_empty(recipe_.finetune)) return;
    const int64_t L = teacher_config_.num_hidden_layers;
    const auto with = [&](MixerType type) {
      const std::vector<MixerType> types(static_cast<size_t>(L), type);
      return CausalLm(hypenet_config(teacher_config_, types), false);
    };
    // Which layers of the hybrid are which is not known yet: it has names of both.
    const CausalLm twins = with(MixerType::kLightning), attention = with(MixerType::kAttention);
    const std::string place = recipe_.name + ": ";
    check_frozen(recipe_.align, {twins}, place + "align");
    check_frozen(recipe_.distill, {twins, attention}, place + "distill");
    check_frozen(recipe_.finetune, {twins, attention}, place + "finetune");
  }

  /// Whether the stage's folder is done; says so.
  bool done(const fs::path& folder, const Json& settings) const {
    check_stop(options_);
    if (!is_done(folder, settings)) return false;
    note(concat(folder.filename().string(), ": done before"));
    return true;
  }

  /// The settings of a stage: those of the run, of the stages before it, and its own.
  Json settings_with(const Json& before, const char* section, const Json& own) const {
    Json settings = before;
    settings[section] = own;
    return settings;
  }

  void write_model(const fs::path& folder, const ModelConfig& config, NamedTensors tensors,
                   const Json& settings, const std::vector<fs::path>& parents) const {
    write_checkpoint(folder, {.config = to_json(config),
                              .tensors = std::move(tensors),
                              .run = run_record(folder.filename().string(), settings, parents),
                              .companions_from = teacher_.folder()});
  }

  /// A model to train: float32 parameters, and copies of them in the type it computes in.
  CausalLm load_trained(const fs::path& folder, const StageConfig& stage) const {
    CausalLm model = load_model(Checkpoint(folder), torch::kFloat32, options_.device);
    model->set_compute_type(stage.compute_type());
    model->make_compute_copies();
    return model;
  }

  struct Training {
    fs::path folder;
    const StageConfig& config;
    SeedOf seed;
    std::vector<fs::path> parents = {};
    std::shared_ptr<const TokenDataset> text = nullptr;  // none: the corpus
  };

  /// Trains the model and writes the stage's folder; the saved state has then served its turn.
  void train_stage(const Training& stage, CausalLm& model, Objective& objective) const {
    const std::string name = stage.folder.filename().string();
    run_stage({name, stage.config, model, settings_, derived_seed(recipe_.seed, stage.seed)},
              stage.text ? stage.text : corpus_.train, tokenizer_, objective, options_);
    write_model(stage.folder, model->config(), named_weights(*model, torch::kFloat32), settings_,
                stage.parents);
    remove_state(options_.out, name);
  }

  TransferOptions transfer_options() const {
    return {recipe_.gate_std, derived_seed(recipe_.seed, SeedOf::kGates)};
  }

  void transfer() {
    settings_ = base_settings_;
    if (done(transfer_folder(), settings_)) return;
    const auto config =
        hypenet_config(teacher_config_, mixer_types(teacher_config_.num_hidden_layers, {}));
    write_model(transfer_folder(), config, transfer_weights(teacher_, config, transfer_options()),
                settings_, {teacher_.folder()});
    note("1-transfer: every layer has a recurrent twin");
  }

  void align() {
    settings_ = settings_with(settings_, "align", write_fields(recipe_.align));
    if (done(align_folder(), settings_)) return;
    CausalLm teacher = load_frozen(teacher_, recipe_.align, options_.device);
    CausalLm twins = load_trained(transfer_folder(), recipe_.align);
    AlignObjective objective(teacher, twins);
    train_stage(
        {align_folder(), recipe_.align, SeedOf::kAlign, {transfer_folder(), teacher_.folder()}},
        twins, objective);
  }

  /// Sweep and rule; or the layers that the recipe gives by hand.
  void select() {
    settings_ = settings_with(settings_, "sweep", write_fields(recipe_.sweep));
    settings_ = settings_with(settings_, "select", write_fields(recipe_.select));
    Json settings = settings_;
    if (parse_selection_rule(recipe_.select.rule) == SelectionRule::kPilot) {
      settings["distill"] = write_fields(recipe_.distill);  // which pilots shorten
    }
    if (done(select_folder(), settings)) {
      attention_layers_ =
          read_json(select_folder() / "selection.json")["layers"].get<std::vector<int64_t>>();
      return;
    }
    attention_layers_ = select_attention({.recipe = recipe_,
                                          .teacher = teacher_,
                                          .aligned = align_folder(),
                                          .corpus = corpus_,
                                          .tokenizer = tokenizer_,
                                          .transfer = transfer_options(),
                                          .sweep_seed = derived_seed(recipe_.seed, SeedOf::kSweep),
                                          .pilot_seed = derived_seed(recipe_.seed, SeedOf::kPilot),
                                          .settings = settings},
                                         select_folder(), options_);
    note(concat("3-select: attention stays in layers ", Json(attention_layers_).dump()));
  }

  void build_hybrid() {
    if (done(hybrid_folder(), settings_)) return;
    const auto types = mixer_types(teacher_config_.num_hidden_layers, attention_layers_);
    write_model(
        hybrid_folder(), hypenet_config(teacher_config_, types),
        hybrid_weights(teacher_, Checkpoint(align_folder()), attention_layers_, transfer_options()),
        settings_, {teacher_.folder(), align_folder(), select_folder()});
  }

  /// Stages 2 and 3: the whole student learns from the teacher or from the text.
  void train_student(Training stage, const fs::path& from, StudentObjective minimised) const {
    CausalLm student = load_trained(from, stage.config), teacher{nullptr};
    stage.parents = {from};
    if (minimised != StudentObjective::kCrossEntropy) {
      teacher = load_frozen(teacher_, stage.config, options_.device);
      stage.parents.push_back(teacher_.folder());
    }
    train_stage(stage, student, *new_objective(minimised, teacher, student));
  }

  void distill() {
    const StageConfig& stage = recipe_.distill;
    settings_ = settings_with(settings_, "distill", write_fields(stage));
    if (done(distill_folder(), settings_)) return;
    train_student({distill_folder(), stage, SeedOf::kDistill, {}}, hybrid_folder(),
                  student_objective(stage, StudentObjective::kKl, "distill"));
  }

  void finetune() {
    const StageConfig& stage = recipe_.finetune;
    settings_ = settings_with(settings_, "finetune", write_fields(stage));
    if (corpus_.long_train != corpus_.train) {
      settings_["long_training_tokens"] = corpus_.long_train->tokens();
    }
    if (done(finetune_folder(), settings_)) return;
    train_student({finetune_folder(), stage, SeedOf::kFinetune, {}, corpus_.long_train},
                  distill_folder(),
                  student_objective(stage, StudentObjective::kCrossEntropy, "finetune"));
  }

  /// The finished model: logits scaling set, weights in the type they ship in.
  void finish() {
    settings_ = settings_with(settings_, "attn_logits_scaling", recipe_.attn_logits_scaling);
    if (done(model_folder(), settings_)) return;
    CausalLm model = load_model(Checkpoint(finetune_folder()), torch::kFloat32, options_.device);
    ModelConfig config = model->config();
    config.attn_logits_scaling =
        parse_logits_scaling(recipe_.attn_logits_scaling, "attn_logits_scaling");
    config.torch_dtype = "bfloat16";
    write_model(model_folder(), config, named_weights(*model, torch::kBFloat16), settings_,
                {finetune_folder()});
  }

  Evaluation measure(const fs::path& folder, const char* name) const {
    CausalLm model = load_model(Checkpoint(folder), torch::kFloat32, options_.device);
    Engine engine(model);
    return evaluate(engine, tokenizer_, corpus_.held_out, recipe_.evaluate,
                    derived_seed(recipe_.seed, SeedOf::kEvaluate),
                    [&](int64_t part, int64_t parts) {
                      check_stop(options_);
                      if (options_.observer)
                        options_.observer->on_progress(concat("evaluate ", name), part, parts);
                    });
  }

  ConversionResult evaluate_and_report() {
    const Json settings = settings_with(settings_, "evaluate", write_fields(recipe_.evaluate));
    const fs::path path = options_.out / "results.json";
    ConversionRecord record;
    if (fs::exists(path) && read_json(path).value("settings", Json()) == settings) {
      read_fields(read_json(path), path.string(), record);
    } else {
      record = {settings, attention_layers_, measure(teacher_.folder(), "teacher"),
                measure(model_folder(), "HypeNet")};
      write_json(path, write_fields(record));
    }
    const fs::path report = options_.out / "report.html";
    write_report(report, conversion_report(recipe_, record, options_.out));
    return {model_folder(), report, conversion_table(record)};
  }

  const HaloRecipe& recipe_;
  const RunOptions& options_;
  Checkpoint teacher_;
  ModelConfig teacher_config_;
  Tokenizer tokenizer_;
  Corpus corpus_;
  Json base_settings_, settings_;
  std::vector<int64_t> attention_layers_;
};

}  // namespace

ConversionResult convert(const HaloRecipe& recipe, const RunOptions& options) {
  return Conversion(recipe, options).run();
}

}  // namespace hypenet
