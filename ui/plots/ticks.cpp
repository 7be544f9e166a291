// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/chart_tools.h"
#include "ui/theme/number_text.h"

#include <algorithm>
#include <cmath>

namespace nibble {

double niceStep(double span, int most) {
  const double rough = span / std::max(most, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 4.0, 5.0, 10.0}) {
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::vector<Tick> stepTicks(double low, double high, double step, bool compact) {
  std::vector<Tick> ticks;
  if (!(step > 0) || !(high > low)) return ticks;
  const auto first = static_cast<long long>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<long long>(std::floor(high / step + 1e-9));
  for (long long i = first; i <= last && ticks.size() < 64; ++i) {
    const double value = static_cast<double>(i) * step;
    // Compact: each number with the decimals it needs itself.
    const double precision = !compact ? step : i == 0 ? 1 : value;
    ticks.push_back({value, formatTick(value, precision)});
  }
  return ticks;
}

std::vector<Tick> niceTicks(double low, double high, int most, bool compact) {
  if (!(high > low)) return {};
  for (int steps = most; steps >= 1; --steps) {
    auto ticks = stepTicks(low, high, niceStep(high - low, steps), compact);
    if (static_cast<int>(ticks.size()) <= most) return ticks;
  }
  return {};
}

int decimalsFor(double width) {
  return width > 0 && std::isfinite(width) ? std::clamp(2 - static_cast<int>(std::floor(std::log10(width))), 0, 9) : 4;
}

std::vector<Tick> powerTicks(double low, double high, int most, bool kilo) {
  std::vector<Tick> ticks;
  if (!(low > 0) || !(high > low)) return ticks;
  const int first = static_cast<int>(std::ceil(std::log10(low) - 1e-9)),
            last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  int every = 1;
  while ((last - first) / every + 1 > most) ++every;
  for (int power = first; power <= last; ++power) {
    if (power % every != 0) continue;
    QString text = formatPower(power);
    if (power == 0) text = QStringLiteral("1");
    if (kilo && power >= 0 && power < 12) {
      static const char* const suffixes[] = {"", "k", "M", "G"};
      text = QString::number(static_cast<int>(std::pow(10, power % 3))) + QLatin1String(suffixes[power / 3]);
    }
    ticks.push_back({std::pow(10.0, power), text});
  }
  return ticks;
}

std::vector<Tick> cellTicks(double begin, double end, int most) {
  std::vector<Tick> ticks;
  if (!(end > begin)) return ticks;
  double step = 1;
  while ((end - begin) / step > most) {
    const bool threeTimes = step >= 96 && std::fmod(std::log2(step / 96), 1.0) == 0;
    const double next = step < 64 ? step * 2 : threeTimes ? step / 3 * 4 : step * 1.5;
    step = next;
  }
  for (double value = std::ceil(begin / step) * step; value <= end; value += step) {
    ticks.push_back({value, QString::number(static_cast<qulonglong>(value))});
  }
  return ticks;
}

std::pair<double, double> niceSymmetric(double extent) {
  if (!(extent > 0) || !std::isfinite(extent)) return {1, 0.5};
  const double step = niceStep(extent, 2);
  return {std::ceil(extent / step - 1e-9) * step, step};
}

}  // namespace nibble
