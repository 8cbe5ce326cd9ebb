# Makes plain `flask` find the application.
FLASK_APP=webapp
