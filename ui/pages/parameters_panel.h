// SPDX-License-Identifier: GPL-3.0-or-later
// The chosen run's trained numbers as heat maps: A, B and their product with its scale, and the magnitude per row; as values, as
// gradients, or as what the last step did to them. Colour scales are symmetric about 0 and, while steps go forward, only grow.
// Where bits learn: the bits of each group of the current tensor as a map, how many groups of all have how many, and how they go
// over the steps. Where packed weights train: the weights as a map (their gradients, the codes that the last step flipped), and
// how often each code is used.
#pragma once
#include "ui/forms/panel.h"

#include <map>
#include <memory>
#include <string>

class QLabel;
class QStackedWidget;

namespace nibble {

namespace train {
struct NamedArray;
}
class CurvePlot;
class MatrixPlot;
class OccupancyPlot;
class Segments;
class Session;
struct TrainSnapshot;

class ParametersPanel : public Panel {
  Q_OBJECT
 public:
  explicit ParametersPanel(Session& session, QWidget* parent = nullptr);
  void showSnapshot(const std::shared_ptr<const TrainSnapshot>& snapshot);  // null: nothing yet
  void setEmptyText(const QString& text);

 protected:
  void changeEvent(QEvent* event) override;

 private:
  struct Map {
    const char* name;  // of the array
    QLabel* title;
    MatrixPlot* plot;
  };
  Map makeMap(const char* name, const QString& meaning);
  void showMap(const Map& map, const TrainSnapshot& snapshot, const std::string& kind);
  QWidget* buildBits();
  void showBits(const TrainSnapshot& snapshot);
  [[nodiscard]] std::shared_ptr<const train::NamedArray> bitsShown(const TrainSnapshot& snapshot) const;
  QWidget* buildCodes();
  void showCodes(const TrainSnapshot& snapshot, const std::string& kind);
  void showMagnitude(const TrainSnapshot& snapshot, const std::string& kind);
  [[nodiscard]] double extentFor(const std::string& key, double wanted);
  void showNow();

  Session& m_session;
  std::shared_ptr<const TrainSnapshot> m_snapshot;
  std::map<std::string, double> m_extents;
  std::uint64_t m_step = 0;
  Segments* m_kind;
  QLabel *m_empty, *m_magnitudeTitle;
  QStackedWidget* m_stack;
  Map m_a, m_b, m_ba;
  CurvePlot* m_magnitude;
  Map m_bits;
  OccupancyPlot* m_bitCounts;
  CurvePlot* m_bitCurves;
  Map m_weight;
  OccupancyPlot* m_codeCounts;
  QWidget* m_magnitudePart = nullptr;
};

}  // namespace nibble
