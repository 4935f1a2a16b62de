//! A plot of accuracies with their intervals, as SVG: rows along numbers as lines from left to right, other rows below each other.

use std::fmt::Write;

/// Accuracies of some rows by several measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Above everything.
    pub title: String,
    /// What the rows are values of.
    pub axis: String,
    /// A name for each row.
    pub rows: Vec<String>,
    /// Whether the rows are numbers in ascending order, between which a line means something.
    pub along_numbers: bool,
    /// One for each measure.
    pub series: Vec<Series>,
}

/// The accuracies of all rows by one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// In the order of the rows; none where there is nothing yet.
    pub points: Vec<Option<Point>>,
}

/// An accuracy and its interval, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The accuracy.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Colours that can be told apart by everybody (Okabe & Ito 2008).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
const TEXT: f64 = 13.0;
/// Of a letter, by the mean of usual fonts; there is room to spare where it is less.
const LETTER: f64 = 0.58 * TEXT;
const MARGIN: f64 = 16.0;
/// Between a series and the next where rows are below each other.
const SPREAD: f64 = 11.0;

impl Plot {
    /// The plot as a document of its own.
    pub fn to_svg(&self) -> String {
        let top = self.highest();
        let frame = if self.along_numbers { self.upright(top) } else { self.lying(top) };
        let width = frame.right + MARGIN + 10.0;
        let legend = self.legend(width);
        let shift = 2.0 * MARGIN + TEXT + legend.height + frame.above;
        let height = frame.bottom + shift + frame.below;
        let mut svg = String::new();
        // A `String` takes whatever is written to it.
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"{TEXT}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
        );
        svg += &text(MARGIN, MARGIN + TEXT, "start", &self.title, " font-weight=\"bold\"");
        svg += &legend.body;
        let _ = writeln!(svg, "<g transform=\"translate(0 {shift:.1})\">\n{}</g>\n</svg>", frame.body);
        svg
    }

    /// The end of the axis of accuracies: a multiple of ten, or of two where all are low.
    fn highest(&self) -> f64 {
        let points = self.series.iter().flat_map(|series| &series.points).flatten();
        let most = points.map(|point| point.high).fold(0.0, f64::max);
        if most > 20.0 { (most / 10.0).ceil().min(10.0) * 10.0 } else { (most / 2.0).ceil().max(1.0) * 2.0 }
    }

    /// Rows from left to right, at equal distances whatever their numbers.
    fn upright(&self, top: f64) -> Frame {
        let left = MARGIN + TEXT + 5.0 * LETTER + 8.0;
        let longest = self.rows.iter().map(|row| width_of(row)).fold(0.0, f64::max);
        let step = (longest + 14.0).max((560.0 / self.rows.len() as f64).min(140.0));
        let (right, bottom) = (left + step * self.rows.len() as f64, 300.0);
        let at = |row: usize, series: usize, value: f64| {
            let aside = (series as f64 - (self.series.len() as f64 - 1.0) / 2.0) * 4.0;
            (left + step * (row as f64 + 0.5) + aside, bottom * (1.0 - value / top))
        };
        let mut body = String::new();
        for value in ticks(top) {
            let (_, y) = at(0, 0, value);
            body += &line((left, y), (right, y), "#d8d8d8", "");
            body += &text(left - 8.0, y + 0.35 * TEXT, "end", &format!("{value}"), "");
        }
        for (row, name) in self.rows.iter().enumerate() {
            let x = left + step * (row as f64 + 0.5);
            body += &line((x, bottom), (x, bottom + 5.0), "#000000", "");
            body += &text(x, bottom + 8.0 + TEXT, "middle", name, "");
        }
        body += &line((left, bottom), (right, bottom), "#000000", "");
        body += &text((left + right) / 2.0, bottom + 18.0 + 2.0 * TEXT, "middle", &self.axis, "");
        let (x, y) = (MARGIN + TEXT, bottom / 2.0);
        body += &text(x, y, "middle", "accuracy, %", &format!(" transform=\"rotate(-90 {x:.1} {y:.1})\""));
        body += &self.marks(at, true);
        Frame { body, right, bottom, above: 0.0, below: 34.0 + 2.0 * TEXT }
    }

    /// Rows below each other.
    fn lying(&self, top: f64) -> Frame {
        let longest = self.rows.iter().map(|row| width_of(row)).fold(width_of(&self.axis), f64::max);
        let (left, height) = (MARGIN + longest + 10.0, SPREAD * self.series.len() as f64 + 12.0);
        let (right, bottom) = (left + 460.0, height * self.rows.len() as f64);
        let at = |row: usize, series: usize, value: f64| {
            (left + (right - left) * value / top, height * row as f64 + 6.0 + SPREAD * (series as f64 + 0.5))
        };
        let mut body = String::new();
        for value in ticks(top) {
            let (x, _) = at(0, 0, value);
            body += &line((x, 0.0), (x, bottom), "#d8d8d8", "");
            body += &text(x, bottom + 4.0 + TEXT, "middle", &format!("{value}"), "");
        }
        for (row, name) in self.rows.iter().enumerate() {
            let y = height * row as f64;
            body += &line((MARGIN, y), (right, y), "#d8d8d8", "");
            body += &text(left - 8.0, y + (height + 0.7 * TEXT) / 2.0, "end", name, "");
        }
        body += &line((left, 0.0), (left, bottom), "#000000", "");
        body += &text(left - 8.0, -6.0, "end", &self.axis, " font-style=\"italic\"");
        body += &text((left + right) / 2.0, bottom + 14.0 + 2.0 * TEXT, "middle", "accuracy, %", "");
        body += &self.marks(at, false);
        let above = if self.axis.is_empty() { 0.0 } else { TEXT };
        Frame { body, right, bottom, above, below: 30.0 + 2.0 * TEXT }
    }

    /// Points with their intervals, and lines between them where rows are along numbers. `at` is where a row, a series and a value are.
    fn marks(&self, at: impl Fn(usize, usize, f64) -> (f64, f64), joined: bool) -> String {
        let mut body = String::new();
        for (index, Series { points, .. }) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let there: Vec<(usize, &Point)> =
                points.iter().enumerate().filter_map(|(row, point)| Some((row, point.as_ref()?))).collect();
            for pair in there.windows(2).filter(|_| joined) {
                let [from, to] = [pair[0], pair[1]].map(|(row, point)| at(row, index, point.value));
                body += &line(from, to, colour, " stroke-opacity=\"0.6\"");
            }
            for (row, Point { value, low, high }) in there {
                body += &line(at(row, index, *low), at(row, index, *high), colour, " stroke-width=\"2\"");
                body += &mark(at(row, index, *value), index);
            }
        }
        body
    }

    /// The names of the series, in as many lines as they need.
    fn legend(&self, width: f64) -> Legend {
        let (mut x, mut y, mut body) = (MARGIN, 2.0 * MARGIN + TEXT, String::new());
        for (index, series) in self.series.iter().enumerate() {
            let needed = 34.0 + width_of(&series.name);
            if x + needed > width && x > MARGIN {
                (x, y) = (MARGIN, y + 1.6 * TEXT);
            }
            body += &mark((x + 6.0, y + 0.65 * TEXT), index);
            body += &text(x + 16.0, y + TEXT, "start", &series.name, "");
            x += needed;
        }
        Legend { body, height: y + 1.6 * TEXT - (MARGIN + TEXT) }
    }
}

/// The part with axes, from (0, 0).
struct Frame {
    body: String,
    right: f64,
    bottom: f64,
    /// What the names of axes need.
    above: f64,
    below: f64,
}

struct Legend {
    body: String,
    height: f64,
}

/// Five to ten values from 0 to `top`.
fn ticks(top: f64) -> impl Iterator<Item = f64> {
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| top / step <= 10.0).unwrap_or(20.0);
    (0..=(top / step) as u32).map(move |tick| step * f64::from(tick))
}

fn width_of(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

fn line(from: (f64, f64), to: (f64, f64), colour: &str, more: &str) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"{more}/>\n")
}

/// A series has a shape of its own too.
fn mark((x, y): (f64, f64), series: usize) -> String {
    let colour = COLOURS[series % COLOURS.len()];
    let polygon = |corners: &[(f64, f64)]| {
        let points: Vec<String> = corners.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        format!("<polygon points=\"{}\" fill=\"{colour}\"/>\n", points.join(" "))
    };
    match series % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>\n"),
        1 => polygon(&[(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)]),
        2 => polygon(&[(0.0, -5.0), (4.6, 3.6), (-4.6, 3.6)]),
        _ => polygon(&[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)]),
    }
}

fn text(x: f64, y: f64, anchor: &str, content: &str, more: &str) -> String {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{content}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(along_numbers: bool) -> Plot {
        let point = |value: f64| Some(Point { value, low: value - 2.0, high: value + 3.0 });
        Plot {
            title: "a < b & c".to_owned(),
            axis: "loss.lambda".to_owned(),
            rows: vec!["16".to_owned(), "256".to_owned()],
            along_numbers,
            series: vec![
                Series { name: "clean".to_owned(), points: vec![point(50.0), point(70.0)] },
                Series { name: "attacked".to_owned(), points: vec![point(20.0), None] },
            ],
        }
    }

    /// The numbers behind `name="` in elements that begin with `element`.
    fn attributes(svg: &str, element: &str, name: &str) -> Vec<f64> {
        let lines = svg.lines().filter(|line| line.starts_with(element));
        lines.filter_map(|line| line.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.parse().ok()).collect()
    }

    #[test]
    fn points_are_where_their_axis_says() {
        let svg = plot(true).to_svg();
        // The axis ends at 80, and has 300 pixels; the first circle is the legend's.
        assert_eq!(attributes(&svg, "<circle", "cy")[1..], [300.0 * (1.0 - 50.0 / 80.0), 300.0 * (1.0 - 70.0 / 80.0)]);
        let intervals = svg.lines().filter(|line| line.contains("stroke-width=\"2\"")).collect::<Vec<_>>().join("\n");
        let ends = |name| attributes(&intervals, "<line", name);
        for (found, values) in [(ends("y1"), [48.0, 68.0, 18.0]), (ends("y2"), [53.0, 73.0, 23.0])] {
            let near = found.iter().zip(values).all(|(y, value)| (y - 300.0 * (1.0 - value / 80.0)).abs() < 0.06);
            assert!(near && found.len() == 3, "{found:?}");
        }
        // One line between the two points of the first series, none from the second's only one.
        assert_eq!(svg.matches("stroke-opacity").count(), 1);

        let svg = plot(false).to_svg();
        let places = attributes(&svg, "<circle", "cx");
        assert!((places[2] - places[1] - 460.0 * 20.0 / 80.0).abs() < 0.2, "{places:?}");
        assert!(!svg.contains("stroke-opacity"), "between names there is nothing");
    }

    #[test]
    fn text_cannot_break_the_document() {
        let svg = plot(true).to_svg();
        assert!(svg.contains(">a &lt; b &amp; c<") && svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        // Every element is closed.
        let opened = svg.matches('<').count() - svg.matches("</").count() - svg.matches("/>").count();
        assert_eq!(opened, svg.matches("</").count());
    }

    #[test]
    fn nothing_yet_is_a_plot_too() {
        let empty = Plot {
            rows: vec!["a".to_owned()],
            series: vec![Series { name: "clean".to_owned(), points: vec![None] }],
            ..plot(false)
        };
        assert!(!empty.to_svg().contains("NaN") && empty.highest() == 2.0);
    }
}
