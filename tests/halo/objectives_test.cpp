// The objectives of stages 1 and 2 against their plain forms.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "halo/align.h"
#include "halo/distill.h"
#include "halo/hybrid.h"
#include "tests/support/tiny_model.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::tiny_teacher_config;

ModelConfig teacher_config() {
  ModelConfig config = tiny_teacher_config();
  config.num_hidden_layers = 3;
  config.mixer_types.assign(3, &kAttentionMixer);
  return config;
}

CausalLm new_teacher() {
  torch::manual_seed(5);
  return CausalLm(teacher_config());
}

CausalLm new_student(const std::vector<int64_t>& attention) {
  torch::manual_seed(6);
  return CausalLm(hypenet_config(teacher_config(), mixer_types(3, attention)));
}

Batch some_batch() {
  torch::manual_seed(7);
  return {torch::randint(64, {2, 12}, torch::kInt64), torch::randint(64, {2, 12}, torch::kInt64),
          torch::zeros({2, 12}, torch::kBool)};
}

TEST(AlignObjective, is_the_mean_over_layers_of_the_mixers_squared_error) {
  CausalLm teacher = new_teacher(), twins = new_student({});
  const Batch batch = some_batch();
  AlignObjective objective(teacher, twins);
  const double loss = objective.accumulate(batch, 0.5).item<double>();
  std::vector<Tensor> found;
  const auto trained = trainable_parameters(twins);
  for (const auto& [name, parameter] : trained) {
    EXPECT_NE(name.find(".self_attn."), std::string::npos) << name << " must not train in stage 1";
    found.push_back(parameter.grad().clone());
  }
  const Context context = teacher->context(batch.ids);
  Residual h = {teacher->embed(batch.ids)};
  Tensor plain;
  for (int64_t i = 0; i < 3; ++i) {
    const auto [sum, x] = teacher->layer(i)->mixer_input(h);
    const Tensor y = teacher->layer(i)->mixer().forward(x, context);
    const Tensor term = (twins->layer(i)->mixer().forward(x, context) - y).pow(2).mean() / 3;
    plain = plain.defined() ? plain + term : term;
    h = teacher->layer(i)->finish(sum, y, context);
  }
  EXPECT_NEAR(loss, plain.item<double>(), 1e-6);
  std::vector<Tensor> parameters;
  for (const auto& [name, parameter] : trained) parameters.push_back(parameter);
  const auto expected = torch::autograd::grad({plain * 0.5}, parameters);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(torch::allclose(found[i], expected[i], 1e-4, 1e-7)) << trained[i].first;
  }
}

TEST(DistillObjective, is_the_kl_of_the_models_and_leaves_the_teacher_alone) {
  CausalLm teacher = new_teacher(), student = new_student({1});
  const Batch batch = some_batch();
  DistillObjective objective(teacher, student);
  const double loss = objective.accumulate(batch, 1).item<double>();
  const Tensor p = torch::log_softmax(teacher->forward(batch.ids), -1);
  const Tensor q = torch::log_softmax(student->forward(batch.ids), -1);
  EXPECT_NEAR(loss, (p.exp() * (p - q)).sum(-1).mean().item<double>(), 1e-6);
  for (const auto& parameter : teacher->parameters()) EXPECT_FALSE(parameter.grad().defined());
  for (const auto& item : student->named_parameters())
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
}

TEST(DistillObjective, learns_answers_from_the_text_where_asked) {
  CausalLm teacher = new_teacher(), student = new_student({1});
  Batch batch = some_batch();
  batch.answers = torch::zeros({2, 12}, torch::kBool);
  batch.answers[1].narrow(0, 4, 3).fill_(true);
  const auto loss = [&](StudentObjective minimised) {
    return new_objective(minimised, teacher, student)->accumulate(batch, 1).item<double>();
  };
  const Tensor p = torch::log_softmax(teacher->forward(batch.ids), -1);
  const Tensor q = torch::log_softmax(student->forward(batch.ids), -1);
  const Tensor kl = (p.exp() * (p - q)).sum(-1);
  const Tensor text = q.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1).neg();
  EXPECT_NEAR(loss(StudentObjective::kKl), kl.mean().item<double>(), 1e-6);
  EXPECT_NEAR(loss(StudentObjective::kKlAnswers),
              torch::where(batch.answers, text, kl).mean().item<double>(), 1e-6);
  EXPECT_NEAR(loss(StudentObjective::kCrossEntropy), text.mean().item<double>(), 1e-6);
}

/// Part `index` of two, of which nothing is asked but where it lies.
class HalfRow : public RowParts {
 public:
  explicit HalfRow(int64_t index) : RowParts(index, 2, 12) {}
  Tensor gather(const Tensor&) override { throw Error("not asked for"); }
  Tensor sum_own(const Tensor&) override { throw Error("not asked for"); }
};

TEST(DistillObjective, learns_from_the_text_beyond_the_teachers_context) {
  ModelConfig config = teacher_config();
  config.max_position_embeddings = 8;
  torch::manual_seed(5);
  CausalLm teacher(config), student = new_student({1});
  Batch batch = some_batch();
  batch.answers[1].narrow(0, 4, 3).fill_(true);
  const auto terms = [&](const Batch& rows) {
    const Tensor p = torch::log_softmax(teacher->forward(rows.ids), -1);
    const Tensor q = torch::log_softmax(student->forward(rows.ids), -1);
    const Tensor text = q.gather(-1, rows.targets.unsqueeze(-1)).squeeze(-1).neg();
    return std::pair((p.exp() * (p - q)).sum(-1), text);
  };
  const auto loss = [&](StudentObjective minimised, const Batch& rows, RowPartsPointer row) {
    return new_objective(minimised, teacher, student, std::move(row))
        ->accumulate(rows, 1)
        .item<double>();
  };
  const Tensor beyond = (torch::arange(12) >= 8).expand({2, 12});
  const auto [kl, text] = terms(batch);
  EXPECT_NEAR(loss(StudentObjective::kKl, batch, {}),
              torch::where(beyond, text, kl).mean().item<double>(), 1e-6);
  EXPECT_NEAR(loss(StudentObjective::kKlAnswers, batch, {}),
              torch::where(beyond.logical_or(batch.answers), text, kl).mean().item<double>(), 1e-6);
  // As the tokens 6 to 11 of rows that two ranks share.
  const auto half = [](const Tensor& whole) { return whole.narrow(1, 0, 6).contiguous(); };
  const Batch own = {half(batch.ids), half(batch.targets), half(batch.answers)};
  const auto [own_kl, own_text] = terms(own);
  const auto second = c10::make_intrusive<HalfRow>(1);
  EXPECT_NEAR(loss(StudentObjective::kKl, own, second),
              torch::where(beyond.narrow(1, 6, 6), own_text, own_kl).mean().item<double>(), 1e-6);
}

TEST(DistillObjective, names_the_teacher_when_it_overflows) {
  CausalLm teacher = new_teacher(), student = new_student({1});
  {
    const torch::NoGradGuard no_grad;
    teacher->named_parameters()["model.layers.1.mlp.up_proj.weight"].fill_(std::nanf(""));
  }
  DistillObjective distill(teacher, student);
  EXPECT_EQ(distill.first_nonfinite(some_batch()), "teacher layer 1 mlp");
  AlignObjective align(teacher, new_student({}));
  EXPECT_EQ(align.first_nonfinite(some_batch()), "teacher layer 1 mlp");
}

}  // namespace
}  // namespace hypenet
