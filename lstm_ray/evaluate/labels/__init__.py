"""Labels of steps beside what is true: metrics, baselines, figures. Knows answers; knows no model."""
